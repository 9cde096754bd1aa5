"""Versions 1 and 0 of d3rlpy's files, written here as their descriptions say."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rlbuffers
from rlbuffers.errors import FormatError
from rlbuffers.sources.d3rlpy.versions import d3rlpy_source

ENDS = st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=6)


def flat(ends):
    """Return flat arrays whose episodes have these lengths, and end by a terminal or not."""
    count = sum(length for length, _ in ends)
    last = np.cumsum([length for length, _ in ends]) - 1
    terminals, episode_terminals = np.zeros(count, np.float32), np.zeros(count, np.float32)
    terminals[last] = [terminated for _, terminated in ends]
    episode_terminals[last] = 1
    rng = np.random.default_rng(0)
    return {
        "observations": rng.normal(size=(count, 3)).astype(np.float32),
        "actions": rng.integers(0, 3, count).astype(np.int32),
        "rewards": rng.normal(size=count).astype(np.float32),
        "terminals": terminals,
        "episode_terminals": episode_terminals,
    }


def write_flat(path, arrays, version="1.0", **more):
    with h5py.File(path, "w") as file:
        for name, values in {**arrays, "discrete_action": True, **more}.items():
            file[name] = values
        if version:
            file["version"] = version
    return path


def converted(path, new_path):
    rlbuffers.convert(d3rlpy_source(path), output := new_path("memory"))
    return rlbuffers.open(output)


@given(ends=ENDS)
def test_version_1(new_path, ends):
    arrays = flat(ends)
    with converted(write_flat(new_path("h5"), arrays), new_path) as buffer:
        rows = buffer[:]
        for name in ("observations", "actions", "rewards"):
            np.testing.assert_array_equal(rows[name], arrays[name])
            assert rows[name].dtype == arrays[name].dtype
        np.testing.assert_array_equal(rows["terminals"], arrays["terminals"] == 1)
        cut = (arrays["episode_terminals"] == 1) & (arrays["terminals"] == 0)
        np.testing.assert_array_equal(rows["timeouts"], cut)
        assert buffer.arrays["episodes/lengths"].all().tolist() == [length for length, _ in ends]
        assert buffer.metadata["scalars"]["discrete_action"]["value"] is True
        assert len(buffer.rows_without_next) == len(ends)


def test_version_1_without_ends_of_episodes(tmp_path, new_path):
    """Then only terminals end one, and the last is not whole."""
    arrays = flat([(3, True), (2, False)])
    del arrays["episode_terminals"]
    with converted(write_flat(tmp_path / "x.h5", arrays), new_path) as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [3, 2]
        assert buffer.arrays["episodes/whole"].all().tolist() == [True, False]
        assert not buffer[:]["timeouts"].any()


@given(ends=ENDS.filter(lambda ends: any(length > 1 for length, _ in ends)))
def test_version_0_has_rewards_one_row_late(new_path, ends):
    arrays = flat(ends)
    starts = np.cumsum([0, *(length for length, _ in ends)])[:-1]
    arrays["rewards"][starts] = 0
    path = write_flat(new_path("h5"), arrays, version=None, create_mask=False, mask_size=1)
    with converted(path, new_path) as buffer:
        number = 0
        for start, (length, terminated) in zip(starts, ends, strict=True):
            if length == 1:
                continue
            rows = buffer.episode(number)
            np.testing.assert_array_equal(rows["observations"], arrays["observations"][start : start + length])
            for t in range(length - 1):
                assert rows["actions"][t] == arrays["actions"][start + t]
                assert rows["rewards"][t] == arrays["rewards"][start + t + 1]
                assert rows["terminals"][t] == (terminated and t == length - 2)
                assert rows["timeouts"][t] == (not terminated and t == length - 2)
            number += 1
        assert buffer.num_episodes == number
        assert buffer.metadata["source"]["shifted"] == "rewards and terminals, by one row"
        single = sum(length == 1 for length, _ in ends)
        said = f"{single} episodes of one row, which hold no transition"
        assert (said in buffer.metadata["left_out"]) == bool(single)


def test_rewards_before_any_action_are_named(tmp_path, new_path):
    path = write_flat(tmp_path / "x.h5", flat([(3, True), (2, False)]), version=None)
    with converted(path, new_path) as buffer:
        assert (
            "the rewards in the first rows of 2 episodes, before which there was no action"
            in buffer.metadata["left_out"]
        )


def test_other_flat_files_are_refused(tmp_path):
    """Version 0 shifts rewards, so that a D4RL file must not be taken for one."""
    arrays = flat([(3, True)])
    with h5py.File(tmp_path / "d4rl.hdf5", "w") as file:
        for name, values in arrays.items():
            file[name] = values
    with pytest.raises(FormatError, match=r"d4rl\.hdf5: expected a d3rlpy dump, .* found flat arrays and no version"):
        d3rlpy_source(tmp_path / "d4rl.hdf5")
    with pytest.raises(FormatError, match=r"version '3\.0'"):
        d3rlpy_source(write_flat(tmp_path / "x.h5", arrays, version="3.0"))


@pytest.mark.parametrize("name", ["observations", "actions", "rewards", "terminals"])
def test_missing_and_unequal_columns(tmp_path, name):
    arrays = flat([(3, True), (2, False)])
    short = write_flat(tmp_path / "short.h5", arrays | {name: arrays[name][:4]})
    with pytest.raises(FormatError, match=r"short\.h5: expected \d rows in"):
        d3rlpy_source(short)
    del arrays[name]
    with pytest.raises(FormatError, match=rf"none\.h5: expected arrays {name}"):
        d3rlpy_source(write_flat(tmp_path / "none.h5", arrays))
