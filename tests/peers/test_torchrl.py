"""TorchRL's replay buffers: the rows that they hold, and what their samplers draw."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from endings import buffer_of
from hypothesis import given
from reference import make, recipes, write

import rlbuffers
from rlbuffers.errors import UnsupportedError, UsageError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
    from torchrl.data.replay_buffers.samplers import SliceSampler


def key_of(name):
    root, *path = name.split("/")
    keys = {
        "observations": ("observation", *path),
        "next_observations": ("next", "observation", *path),
        "actions": ("action",),
        "rewards": ("next", "reward"),
        "terminals": ("next", "terminated"),
        "timeouts": ("next", "truncated"),
    }
    return keys.get(root, (root, *path))


WIDER = {"uint16": "int32", "uint32": "int64", "uint64": "int64"}


def too_large(values):
    return values.dtype == np.uint64 and bool((values > np.iinfo(np.int64).max).any())


@given(recipe=recipes())
def test_every_row_is_there(new_path, recipe):
    made = make(recipe)
    with rlbuffers.open(write(new_path("memory"), made)) as buffer:
        if any(map(too_large, made.table.values())):
            with pytest.raises(UnsupportedError, match="uint64 values beyond those of int64"):
                buffer.to_torchrl()
            return
        rows = buffer.to_torchrl()[:]
        episodes = buffer.episode_of(np.arange(len(made))) if recipe.layout == "episodes" else None
    assert len(rows) == len(made)
    for name, expected in made.table.items():
        found = rows[key_of(name)].numpy()
        wide = name in ("rewards", "terminals", "timeouts")
        np.testing.assert_array_equal(found, expected[:, None] if wide else expected)
        assert found.dtype == WIDER.get(expected.dtype.name, expected.dtype)
    done = made.table["terminals"] | made.table["timeouts"]
    np.testing.assert_array_equal(rows["next", "done"].numpy()[:, 0], done)
    assert not rows["done"].any()
    if episodes is not None:
        np.testing.assert_array_equal(rows["episode"].numpy(), episodes)


def test_rows_that_nothing_is_learned_from_are_left_out(tmp_path):
    path = buffer_of(tmp_path / "x.hdf5", (3, 2, 4), ("timeout", "terminal", "neither"), known=False)
    with rlbuffers.open(path) as buffer:
        rows = buffer.to_torchrl()[:]
        np.testing.assert_array_equal(rows["next", "reward"].numpy()[:, 0], buffer.rows(buffer.usable_rows)["rewards"])
    assert len(rows) == 7
    path = buffer_of(tmp_path / "y.hdf5", (1,), ("timeout",), known=False)
    with rlbuffers.open(path) as buffer, pytest.raises(UsageError, match="no transition"):
        buffer.to_torchrl()


def test_slices_stay_within_an_episode(tmp_path):
    path = buffer_of(tmp_path / "x.hdf5", (6, 5, 9), ("terminal", "timeout", "neither"))
    with rlbuffers.open(path) as buffer:
        rows = buffer.to_torchrl()[:]
    storage = LazyTensorStorage(len(rows))
    replay = TensorDictReplayBuffer(
        storage=storage, sampler=SliceSampler(slice_len=3, traj_key="episode"), batch_size=12
    )
    replay.extend(rows)
    for _ in range(10):
        slices = replay.sample().reshape(4, 3)
        assert (slices["episode"] == slices["episode"][:, :1]).all()
        following = slices["observation"][:, 1:]
        assert (slices["next", "observation"][:, :-1] == following).all()
