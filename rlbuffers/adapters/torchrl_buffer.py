"""A buffer as a TorchRL replay buffer in RAM, under the keys of TorchRL's own offline datasets."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlbuffers.errors import UnsupportedError
from rlbuffers.exports.base import block_rows
from rlbuffers.optional import require
from rlbuffers.reader import Buffer
from rlbuffers.schema import ACTIONS, NEXT_OBSERVATIONS, OBSERVATIONS, REWARDS, TERMINALS, TIMEOUTS

__all__ = ["to_torchrl"]

Array = np.ndarray[Any, Any]
_FLAGS = {TERMINALS: "terminated", TIMEOUTS: "truncated"}
_EPISODE = "episode"


def to_torchrl(buffer: Buffer) -> Any:
    """Return the transitions as a ``torchrl.data.TensorDictReplayBuffer``.

    Parameters
    ----------
    buffer : Buffer
        Where the rows come from; decoded into RAM, stacks of frames in full.

    Returns
    -------
    torchrl.data.TensorDictReplayBuffer
        Over a ``LazyTensorStorage``, in the buffer's order, with ``observation``, ``action``, and
        under ``next`` observation, reward, done, terminated and truncated, (N, 1) each of the last
        four. Further columns keep their names. Episodes are numbered in ``episode``, which is what
        ``SliceSampler(traj_key="episode")`` cuts by. uint16, uint32 and uint64 become int32 and
        int64. Rows that are not terminal and whose next observation is not known are left out.

    Raises
    ------
    MissingDependencyError
        If TorchRL is not installed.
    UnsupportedError
        If there are uint64 values that int64 does not hold.
    UsageError
        If no row has a next observation.
    """
    data = require("torchrl.data", extra=None, purpose="to_torchrl()")
    tensors = require("tensordict", extra=None, purpose="to_torchrl()")
    torch = require("torch", extra="train", purpose="to_torchrl()")
    usable = buffer.usable_rows
    replay = data.TensorDictReplayBuffer(storage=data.LazyTensorStorage(len(usable)), batch_size=256)
    step = block_rows(buffer)
    for start in range(0, len(usable), step):
        rows = usable[start : start + step]
        batch = tensors.TensorDict({}, batch_size=[len(rows)])
        for key, values in _keyed(buffer, rows).items():
            batch[key] = torch.from_numpy(np.ascontiguousarray(_indexable(values, buffer)))
        replay.extend(batch)
    return replay


def _indexable(values: Array, buffer: Buffer) -> Array:
    """Widen unsigned integers of more than a byte: PyTorch knows them, but not how to write into a storage of them."""
    if values.dtype.kind != "u" or values.itemsize == 1:
        return values
    if values.itemsize == 8 and (values > np.iinfo(np.int64).max).any():
        raise UnsupportedError(f"{buffer.path}: uint64 values beyond those of int64, which TorchRL cannot store")
    return values.astype(np.int32 if values.itemsize == 2 else np.int64)


def _keyed(buffer: Buffer, rows: Array) -> dict[tuple[str, ...], Array]:
    """Return rows under TorchRL's keys."""
    found: dict[tuple[str, ...], Array] = {}
    flags = dict.fromkeys(_FLAGS.values(), np.zeros((len(rows), 1), bool))
    for name, values in buffer.rows(rows).items():
        root, *path = name.split("/")
        if name in _FLAGS:
            flags[_FLAGS[name]] = values[:, None]
        elif name == REWARDS:
            found["next", "reward"] = values[:, None]
        elif name == ACTIONS:
            found["action",] = values
        elif root == OBSERVATIONS:
            found["observation", *path] = values
        elif root == NEXT_OBSERVATIONS:
            found["next", "observation", *path] = values
        else:
            found[root, *path] = values
    flags["done"] = flags["terminated"] | flags["truncated"]
    for name, values in flags.items():
        found["next", name] = values
        found[name,] = np.zeros_like(values)
    if buffer.spec.layout == "episodes":
        found[_EPISODE,] = buffer.episode_of(rows)
    return found
