"""Diffusion Policy's replay buffers, against what was written."""

from __future__ import annotations

import json

import numcodecs
import numpy as np
import pytest
import zarr
from diffusion_policy_files import write_array, write_demonstrations
from hypothesis import given, settings
from hypothesis import strategies as st

import rlbuffers
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError, RlbuffersError, UsageError
from rlbuffers.sources.diffusion_policy import DiffusionPolicySource


def play(count):
    rng = np.random.default_rng(count)
    return {
        "action": rng.normal(size=(count, 2)).astype(np.float32),
        "state": rng.normal(size=(count, 5)).astype(np.float32),
        "img": rng.integers(0, 255, (count, 3, 4, 3), dtype=np.uint8),
        "timestamp": np.arange(count) / 10,
    }


def converted(path, new_path, *observations):
    output = new_path("memory")
    rlbuffers.convert(DiffusionPolicySource(path, observations), output)
    return rlbuffers.open(output)


@settings(max_examples=20)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    name=st.sampled_from(["x.zarr", "x.zarr.zip"]),
    library=st.booleans(),
)
def test_demonstrations_come_back(tmp_path_factory, new_path, lengths, name, library):
    folder, arrays = tmp_path_factory.mktemp("dp"), play(sum(lengths))
    if library:
        path = folder / "x.zarr"
        root = zarr.open_group(path, mode="w", zarr_format=2)
        for key, array in arrays.items():
            root.create_array(f"data/{key}", data=array, compressors=numcodecs.Blosc())
        root.create_array("meta/episode_ends", data=np.cumsum(lengths))
    else:
        path = write_demonstrations(folder / name, arrays, lengths)
    with converted(path, new_path) as buffer:
        rows = buffer[:]
        for column, key in (
            ("actions", "action"),
            ("observations/state", "state"),
            ("observations/img", "img"),
            ("timestamp", "timestamp"),
        ):
            np.testing.assert_array_equal(rows[column], arrays[key])
            assert rows[column].dtype == arrays[key].dtype
        assert not rows["rewards"].any()
        assert not rows["terminals"].any()
        assert np.flatnonzero(rows["timeouts"]).tolist() == (np.cumsum(lengths) - 1).tolist()
        assert buffer.arrays["episodes/lengths"].all().tolist() == lengths
        assert not buffer.arrays["episodes/final_known"].all().any()
        assert buffer.metadata["warnings"] == ["The file has no rewards: zeros stand in their place."]


def test_rewards_that_are_there_are_kept(tmp_path, new_path):
    rewards = np.arange(5, dtype=np.float64)[:, None]
    path = write_demonstrations(tmp_path / "x.zarr", {**play(5), "reward": rewards}, [3, 2])
    with converted(path, new_path) as buffer:
        assert buffer[:]["rewards"].tolist() == [0, 1, 2, 3, 4]
        assert buffer.metadata["warnings"] == []


def test_observations_are_chosen(tmp_path, new_path):
    path = write_demonstrations(tmp_path / "x.zarr", play(5), [3, 2])
    with converted(path, new_path, "state") as buffer:
        assert buffer.spec.observation_names == ["observations"]
        np.testing.assert_array_equal(buffer[:]["img"], play(5)["img"])
    with pytest.raises(UsageError, match="there is no array 'data/keypoint'; found action, img, state, timestamp"):
        DiffusionPolicySource(path, ["keypoint"])


def test_what_is_left_out_is_named(tmp_path, new_path):
    arrays = {**play(7), "text": np.array(["a"] * 7), "empty": np.zeros((7, 0))}
    path = write_demonstrations(tmp_path / "x.zarr", arrays, [3, 2])
    with converted(path, new_path) as buffer:
        assert len(buffer) == 5
        left_out = buffer.metadata["left_out"]
        assert "'data/text', whose dtype '<U1' cannot be stored" in left_out
        assert "'data/action': 2 rows behind the last episode" in left_out
        assert len(left_out) == 6


def test_chunks_that_are_missing_are_told(tmp_path, new_path):
    path = write_demonstrations(tmp_path / "x.zarr", play(9), [9])
    (path / "data" / "state" / "1.0").unlink()
    with converted(path, new_path) as buffer:
        assert not buffer[:]["observations/state"][4:8].any()
        assert buffer.metadata["warnings"][1].startswith("1 chunks are not in the file: the fill value")


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ([], "expected transitions, found none"),
        ([3, 3], r"expected ascending numbers in 'meta/episode_ends', found \[3, 3\]"),
        ([-1, 3], "expected ascending numbers"),
        ([3, 9], r"expected 9 rows in 'data/action', as many as 'meta/episode_ends' says; found 5"),
        ([[1, 2]], "expected whole numbers in 'meta/episode_ends'"),
        ([1.5], "expected whole numbers in 'meta/episode_ends'"),
    ],
)
def test_ends_that_are_none(tmp_path, ends, message):
    path = write_demonstrations(tmp_path / "x.zarr", play(5), [5])
    (path / "meta" / "episode_ends").rename(tmp_path / "old")
    write_array(path / "meta" / "episode_ends", np.array(ends) if ends else np.zeros(0, np.int64))
    with pytest.raises(FormatError, match=message):
        DiffusionPolicySource(path)


def test_what_is_needed(tmp_path):
    with pytest.raises(BufferNotFoundError, match="there is no such file or directory"):
        DiffusionPolicySource(tmp_path / "missing")
    with pytest.raises(FormatError, match=r"expected a Zarr group \(version 2\) with 'data' and 'meta/episode_ends'"):
        DiffusionPolicySource(tmp_path)
    for missing in ("action", ("state", "img")):
        arrays = {name: rows for name, rows in play(3).items() if name not in missing}
        path = write_demonstrations(tmp_path / f"{len(missing)}.zarr", arrays, [3])
        with pytest.raises(FormatError, match="expected 'data/action' and an array of observations; found "):
            DiffusionPolicySource(path)


@pytest.mark.parametrize(
    "change", [{"filters": [{"id": "pickle", "protocol": 5}]}, {"compressor": {"id": "pickle", "protocol": 5}}]
)
def test_no_pickle_is_ever_decoded(tmp_path, change):
    path = write_demonstrations(tmp_path / "x.zarr", play(3), [3])
    (path / "data" / "state").rename(tmp_path / "old")
    write_array(path / "data" / "state", play(3)["state"], **change)
    with pytest.raises(FormatError, match="pickle"):
        DiffusionPolicySource(path)


def test_objects_are_left_out(tmp_path, new_path):
    path = write_demonstrations(tmp_path / "x.zarr", play(3), [3])
    change = {"dtype": "|O", "filters": [{"id": "pickle", "protocol": 5}]}
    write_array(path / "data" / "notes", np.zeros(3), **change)
    with converted(path, new_path) as buffer:
        assert buffer.metadata["left_out"] == ["'data/notes', whose dtype '|O' cannot be stored"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"compressor": {"id": "imagecodecs_jpegxl"}},
            CorruptDataError,
            "damaged, or stored in an unknown way: .*jpegxl",
        ),
        ({"shape": "x"}, CorruptDataError, "damaged, or stored in an unknown way: "),
        ({"chunks": [1 << 29, 5]}, CorruptDataError, "a chunk of 'data/state': it announces 10,737,418,240 bytes"),
    ],
)
def test_arrays_that_cannot_be_read(tmp_path, change, error, message):
    path = write_demonstrations(tmp_path / "x.zarr", play(3), [3])
    described = json.loads((path / "data" / "state" / ".zarray").read_text())
    (path / "data" / "state" / ".zarray").write_text(json.dumps({**described, **change}))
    with pytest.raises(error, match=message):
        DiffusionPolicySource(path)


@settings(max_examples=40)
@given(data=st.data())
def test_whatever_is_damaged_is_read_or_told_in_a_line(tmp_path_factory, new_path, data):
    folder = tmp_path_factory.mktemp("damaged")
    path = write_demonstrations(folder / data.draw(st.sampled_from(["x.zarr", "x.zarr.zip"])), play(6), [4, 2])
    files = sorted(file for file in path.rglob("*") if file.is_file()) or [path]
    file = data.draw(st.sampled_from(files))
    content = bytearray(file.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content)
    try:
        rlbuffers.convert(DiffusionPolicySource(path), new_path("memory"))
    except RlbuffersError as error:
        told = str(error)
        assert len(told.splitlines()) == 1
