"""`rlbuffers convert lerobot`."""

from __future__ import annotations

import pytest
from lerobot_files import frames, write_v21
from truth import DATA

import rlbuffers
from rlbuffers import optional

V30 = DATA / "lerobot" / "v3.0"


@pytest.mark.parametrize("store", ["hdf5", "zarr"])
def test_a_dataset(run, tmp_path, store):
    output = tmp_path / f"x.{store}"
    result = run("convert", "lerobot", V30, "-o", output)
    assert (result.exit_code, result.stderr) == (0, "")
    words = " ".join(result.stdout.split())
    assert "in 3 episodes, 6 transitions, rewards sum to 2" in words
    assert "out 3 episodes, 6 transitions, rewards sum to 2" in words
    assert "left out 1 'observation.images.wrist', a video" in words
    assert rlbuffers.validate(output).ok


def test_several_datasets_and_their_default_place(run, tmp_path):
    folders = [write_v21(tmp_path / name, [frames(steps)]) for name, steps in (("a", 3), ("b", 2))]
    assert run("convert", "lerobot", *folders, "--buffer-dir", tmp_path / "buffers").exit_code == 0
    with rlbuffers.open(tmp_path / "buffers" / "lerobot" / "a.hdf5") as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [3, 2]
        assert [part["name"] for part in buffer.metadata["source"]["parts"]] == [str(folder) for folder in folders]


def test_a_folder_that_is_none(run, tmp_path):
    result = run("convert", "lerobot", tmp_path, "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 1
    assert result.stderr == f"Error: {tmp_path}: there is no LeRobot dataset here: meta/info.json is missing\n"
    assert list(tmp_path.iterdir()) == []


def test_without_pyarrow(run, tmp_path, monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(optional.importlib, "import_module", absent)
    from rlbuffers.sources.lerobot.dataset import LeRobotSource

    with pytest.raises(optional.MissingDependencyError, match=r"pip install 'rlbuffers\[lerobot\]'"):
        LeRobotSource(V30)
