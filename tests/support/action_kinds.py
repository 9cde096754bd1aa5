"""The same little play with actions of any kind, in files of every source that records no space of actions.

`WRITERS` has a function for each: it takes a folder, observations float32 (N, 2) and actions (N, ...), all of one
episode that a time limit ends, and returns a source that reads what was written.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from minari_files import box, write_hdf5
from minari_files import episode as minari_episode
from reverb_checkpoint import write_steps
from rlds import PLAIN_STEP, plain_episode, tensor, write_dataset
from tianshou_files import Step, save

from rlbuffers.sources.base import Source
from rlbuffers.sources.d3rlpy.replay_buffer import D3rlpySource
from rlbuffers.sources.d4rl.hdf5 import D4RLSource
from rlbuffers.sources.minari.dataset import MinariSource
from rlbuffers.sources.npz import NpzSource
from rlbuffers.sources.reverb.checkpoint import ReverbSource
from rlbuffers.sources.tfds.rlds import RLDSSource
from rlbuffers.sources.tianshou.hdf5 import TianshouSource

Array = np.ndarray[Any, Any]


def _flat(observations: Array, actions: Array) -> dict[str, Array]:
    last = np.arange(len(actions)) == len(actions) - 1
    return {
        "observations": observations,
        "actions": actions,
        "rewards": observations[:, 0].astype(np.float32),
        "terminals": np.zeros(len(actions), np.bool_),
        "timeouts": last,
    }


def npz(folder: Path, observations: Array, actions: Array) -> Source[Any]:
    np.savez(folder / "x.npz", **_flat(observations, actions))
    return NpzSource(folder / "x.npz")


def d4rl(folder: Path, observations: Array, actions: Array) -> Source[Any]:
    with h5py.File(folder / "x.hdf5", "w") as file:
        for name, rows in _flat(observations, actions).items():
            file[name] = rows
    return D4RLSource(folder / "x.hdf5")


def tianshou(folder: Path, observations: Array, actions: Array) -> Source[Any]:
    steps = [
        Step(
            {
                "obs": observation,
                "act": action,
                "rew": 1.0,
                "terminated": False,
                "truncated": number == len(actions) - 1,
                "done": number == len(actions) - 1,
                "obs_next": observation,
            }
        )
        for number, (observation, action) in enumerate(zip(observations, actions, strict=True))
    ]
    return TianshouSource(save(folder / "x.hdf5", [steps], len(steps)))


def d3rlpy(folder: Path, observations: Array, actions: Array) -> Source[Any]:
    with h5py.File(folder / "x.h5", "w") as file:
        file["columns"] = ["observations", "actions", "rewards", "terminated"]
        file["num_episodes"], file["version"] = 1, "2.1"
        file["observations_0"], file["terminated_0"] = observations, False
        file["actions_0"] = actions.reshape(len(actions), -1)  # d3rlpy has no single numbers
        file["rewards_0"] = np.ones((len(actions), 1), np.float32)
    return D3rlpySource(folder / "x.h5")


def tfds(folder: Path, observations: Array, actions: Array) -> Source[Any]:
    episode = plain_episode(len(actions) + 1)
    episode["steps/observation"] = np.concatenate([observations, observations[:1]])
    episode["steps/action"] = np.concatenate([actions, np.zeros_like(actions[:1])])
    step = {**PLAIN_STEP, "action": tensor(actions.dtype.name, *actions.shape[1:])}
    return RLDSSource(write_dataset(folder / "rlds", [episode], step=step))


def reverb(folder: Path, observations: Array, actions: Array) -> Source[Any]:
    columns = {
        "observation": observations,
        "action": actions,
        "reward": np.ones(len(actions)),
        "discount": np.ones(len(actions), np.float32),
        "next_observation": observations,
    }
    return ReverbSource(write_steps(folder / "x", columns, [(row, row + 1) for row in range(len(actions))]))


def minari(folder: Path, observations: Array, actions: Array) -> Source[Any]:
    """With the space that gymnasium's Box has by default: all that the dtype holds."""
    low, high = (-np.inf, np.inf)
    if actions.dtype.kind in "iu":
        low, high = np.iinfo(actions.dtype).min, np.iinfo(actions.dtype).max
    if actions.dtype.kind == "b":
        low, high = 0, 1
    space = box(actions.dtype.name, actions.shape[1:], low, high)
    seen = np.concatenate([observations, observations[:1]])
    made = minari_episode(len(actions), end="timeout", observations=seen, actions=actions)
    return MinariSource(write_hdf5(folder / "minari", [made], {"action_space": space}) / "data")


WRITERS: dict[str, Callable[[Path, Array, Array], Source[Any]]] = {
    writer.__name__: writer for writer in (npz, d4rl, tianshou, d3rlpy, tfds, reverb, minari)
}
