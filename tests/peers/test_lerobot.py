"""LeRobot itself against our writer and reader: the same values, row by row.

LeRobot asks for other releases of torch and NumPy than the peers, so `make peers` does not install it. Where it is
installed, with or without torchvision, this runs.
"""

from __future__ import annotations

import numpy as np
import pytest
import torchvision_stand_in
from hypothesis import given, settings
from truth import DATA
from varied import Varied, all_cases, varied_buffers, write_varied

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode
from rlbuffers.exports.export import export
from rlbuffers.sources.lerobot.dataset import LeRobotSource

torchvision_stand_in.install()
LeRobotDataset = pytest.importorskip(
    "lerobot.datasets.lerobot_dataset",
    reason="LeRobot is not installed: pip install --no-deps lerobot, and what it imports",
    exc_type=ImportError,
).LeRobotDataset


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def loaded(path, **more):
    return LeRobotDataset(f"test/{path.name}", root=path, **more)


def feature_of(name):
    named = {
        "actions": "action",
        "rewards": "next.reward",
        "terminals": "next.terminated",
        "timeouts": "next.truncated",
        "observations": "observation.state",
    }
    if name.startswith("observations/"):
        return "observation" + name.removeprefix("observations").replace("/", ".")
    return named.get(name, name.removeprefix("infos/").replace("/", "."))


def assert_is_the_buffer(dataset, buffer):
    """Compare every row, and where episodes begin and end."""
    rows = buffer[:]
    assert (len(dataset), dataset.num_episodes) == (len(buffer), buffer.num_episodes)
    starts, lengths = (buffer.arrays[f"episodes/{name}"].all() for name in ("starts", "lengths"))
    assert list(dataset.meta.episodes["dataset_from_index"]) == starts.tolist()
    assert list(dataset.meta.episodes["length"]) == lengths.tolist()
    for number in range(len(dataset)):
        item = dataset[number]
        for name in buffer.spec.columns:
            ours, theirs = rows[name][number], item[feature_of(name)].numpy()
            if buffer.spec.stack and name == "observations":
                ours = ours[-1][..., None]
            if ours.dtype == np.uint8 and theirs.dtype == np.float32:
                theirs = np.round(theirs * 255).astype(np.uint8).transpose(1, 2, 0)
            np.testing.assert_array_equal(theirs.reshape(ours.shape), ours.astype(theirs.dtype), err_msg=name)


@pytest.mark.parametrize("more", [{}, {"nested": True}, {"stack": 3}])
def test_lerobot_reads_what_is_exported(tmp_path, more):
    write_varied(tmp_path / "x.hdf5", all_cases(**more))
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        export(buffer, tmp_path / "y", "lerobot")
        assert_is_the_buffer(loaded(tmp_path / "y"), buffer)


@settings(max_examples=5)
@given(varied=varied_buffers())
def test_lerobot_reads_any_export(new_path, varied):
    short = Varied(tuple(min(length, 13) for length in varied.lengths), varied.flags, varied.stack, varied.nested)
    write_varied(path := new_path("memory"), short)
    with rlbuffers.open(path) as buffer:
        output = export(buffer, new_path("hdf5").with_suffix(""), "lerobot").path
        assert_is_the_buffer(loaded(output), buffer)


def test_images_dtypes_and_statistics(tmp_path):
    rng = np.random.default_rng(0)
    shapes = {"rgb": (32, 40, 3), "gray": (33, 32, 1)}
    columns = [ColumnSpec(f"observations/{name}", np.uint8, shape) for name, shape in shapes.items()]
    plain = [
        ColumnSpec("observations/matrix", np.float32, (2, 3)),
        ColumnSpec("observations/flags", np.bool_, (2,)),
        ColumnSpec("actions", np.float64, (2,)),
        ColumnSpec("rewards", np.float64),
    ]
    observed = {f"observations/{name}": rng.integers(0, 256, (3, *shape), np.uint8) for name, shape in shapes.items()}
    observed["observations/matrix"] = rng.normal(size=(3, 2, 3)).astype(np.float32)
    observed["observations/flags"] = rng.random((3, 2)) > 0.5
    with rlbuffers.create(tmp_path / "x.hdf5", BufferSpec("episodes", [*columns, *plain])) as writer:
        writer.append_episode(Episode({"actions": rng.normal(size=(3, 2)), "rewards": np.zeros(3)}, observed))
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        export(buffer, tmp_path / "y", "lerobot")
        dataset = loaded(tmp_path / "y")
        assert_is_the_buffer(dataset, buffer)
        mean = buffer[:]["observations/rgb"].mean(axis=(0, 1, 2)) / 255
        np.testing.assert_allclose(dataset.meta.stats["observation.rgb"]["mean"].ravel(), mean)


def test_windows_stay_inside_an_episode(tmp_path):
    write_varied(tmp_path / "x.hdf5", all_cases())
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        export(buffer, tmp_path / "y", "lerobot")
        dataset = loaded(tmp_path / "y", delta_timestamps={"action": [0, 1]})
        starts = set(buffer.arrays["episodes/starts"].all().tolist())
        for number in range(len(dataset)):
            is_last = number + 1 in starts or number + 1 == len(dataset)
            assert dataset[number]["action_is_pad"].tolist() == [False, is_last]


def test_we_read_what_lerobot_reads(tmp_path):
    """But for the videos, which are not there."""
    rlbuffers.convert(LeRobotSource(DATA / "lerobot" / "v3.0"), tmp_path / "x.hdf5")
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        export(buffer, tmp_path / "y", "lerobot")
        dataset = loaded(tmp_path / "y")
        assert_is_the_buffer(dataset, buffer)
        assert dataset[0]["task"] == "Pick the cube."


def test_what_lerobot_writes_is_read(tmp_path):
    features = {
        "observation.state": {"dtype": "float32", "shape": (2,), "names": None},
        "observation.image": {"dtype": "image", "shape": (32, 40, 3), "names": ["height", "width", "channels"]},
        "action": {"dtype": "float64", "shape": (1,), "names": None},
        "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
        "next.done": {"dtype": "bool", "shape": (1,), "names": None},
    }
    rng = np.random.default_rng(0)
    made = LeRobotDataset.create("test/x", 10, features, root=tmp_path / "x", use_videos=False)
    frames = []
    for steps in (3, 1, 2):
        for step in range(steps):
            frames.append(
                {
                    "observation.state": rng.normal(size=2).astype(np.float32),
                    "observation.image": rng.integers(0, 256, (32, 40, 3), np.uint8),
                    "action": rng.normal(size=1),
                    "next.reward": np.array([step == steps - 1], np.float32),
                    "next.done": np.array([step == steps - 1]),
                }
            )
            made.add_frame({**frames[-1], "task": "Push."})
        made.save_episode()
    made.finalize()
    rlbuffers.convert(LeRobotSource(tmp_path / "x"), tmp_path / "y.hdf5")
    with rlbuffers.open(tmp_path / "y.hdf5") as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [3, 1, 2]
        rows = buffer[:]
        for ours, theirs in {
            "observations/state": "observation.state",
            "observations/image": "observation.image",
            "actions": "action",
            "rewards": "next.reward",
        }.items():
            expected = np.stack([frame[theirs] for frame in frames])
            np.testing.assert_array_equal(rows[ours], expected.reshape(rows[ours].shape))
            assert rows[ours].dtype == expected.dtype
        assert rows["terminals"].tolist() == [False, False, True, True, False, True]
