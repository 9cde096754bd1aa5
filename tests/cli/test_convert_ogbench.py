"""`rlbuffers convert ogbench`, and what `convert npz` makes of archives of other libraries."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from truth import DATA

import rlbuffers

RAW = DATA / "ogbench" / "pointmaze-medium-navigate-v0.npz"


@pytest.mark.parametrize("store", ["hdf5", "zarr"])
def test_training_and_validation_become_one_buffer(run, tmp_path, store):
    validation = tmp_path / "pointmaze-medium-navigate-v0-val.npz"
    shutil.copy(RAW, validation)
    output = tmp_path / f"x.{store}"
    result = run("convert", "ogbench", RAW, validation, "-o", output)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "out 6 episodes, 54 transitions, rewards sum to 0" in " ".join(result.stdout.split())
    with rlbuffers.open(output) as buffer:
        assert buffer.metadata["environment"]["id"] == "pointmaze-medium-v0"
        assert [part["split"] for part in buffer.metadata["source"]["parts"]] == ["train", "validation"]


def test_names_are_said_with_map(run, tmp_path):
    with np.load(RAW) as archive:
        arrays = dict(archive)
    np.savez(tmp_path / "x.npz", **{"looks" if name == "observations" else name: arrays[name] for name in arrays})
    result = run("convert", "ogbench", tmp_path / "x.npz", "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 1
    assert "expected arrays observations; found actions, looks" in result.stderr
    words = ["ogbench", tmp_path / "x.npz", "--map", "looks=observations", "-o", tmp_path / "x.hdf5"]
    assert run("convert", *words).exit_code == 0
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        np.testing.assert_array_equal(buffer[:]["observations"], arrays["observations"][~arrays["terminals"]])


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("ogbench", RAW),
        ("imitation", DATA / "imitation" / "walk.npz"),
        ("stable-baselines", DATA / "stable_baselines" / "walk.npz"),
        ("exorl", DATA / "exorl" / "episode_000000_5.npz"),
    ],
)
def test_convert_npz_recognizes_archives_of_other_libraries(run, tmp_path, name, path):
    shutil.copy(path, tmp_path / "mine.npz")  # the name tells nothing
    for number, words in enumerate([[name, path], ["npz", path], ["npz", tmp_path / "mine.npz"]]):
        assert run("convert", *words, "-o", tmp_path / f"{number}.hdf5").exit_code == 0
    prints = [rlbuffers.open(tmp_path / f"{number}.hdf5").fingerprint for number in range(3)]
    assert len(set(prints)) == 1
    with rlbuffers.open(tmp_path / "1.hdf5") as buffer:
        assert buffer.metadata["source"]["format"] == name


def test_an_archive_without_rewards_points_to_ogbench(run, tmp_path):
    np.savez(tmp_path / "x.npz", observations=np.zeros((3, 1)), actions=np.zeros((3, 1)), terminals=np.ones(3))
    result = run("convert", "npz", tmp_path / "x.npz", "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "`rlbuffers convert ogbench` reads them" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


@pytest.mark.parametrize("name", ["exorl", "ogbench", "imitation", "stable-baselines"])
@pytest.mark.parametrize("content", [b"no archive", b"PK\x03\x04", b"\x80\x04]"])
def test_wrong_files_get_one_line_and_leave_nothing(run, tmp_path, name, content):
    (tmp_path / "x.npz").write_bytes(content)
    result = run("convert", name, tmp_path / "x.npz", "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "x.npz: " in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


def test_an_archive_of_another_library_is_pointed_to(run, tmp_path):
    result = run("convert", "ogbench", DATA / "imitation" / "walk.npz", "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 1
    assert "looks like one of `rlbuffers convert imitation`" in result.stderr
