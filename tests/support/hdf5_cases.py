"""A file of every source that reads HDF5."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from truth import DATA

from rlbuffers.sources.base import Source
from rlbuffers.sources.d3rlpy.versions import d3rlpy_source
from rlbuffers.sources.d4rl.hdf5 import D4RLSource
from rlbuffers.sources.d4rl.qlearning import D4RLQLearningSource
from rlbuffers.sources.minari.dataset import MinariSource
from rlbuffers.sources.robomimic.dataset import RobomimicSource
from rlbuffers.sources.tianshou.hdf5 import TianshouSource


@dataclass(frozen=True)
class Case:
    """A file of a source, and the arrays in it that are tried."""

    file: Path
    source: Callable[[Path], Source[Any]]
    needed: str
    flag: str


def minari(path: Path) -> Source[Any]:
    return MinariSource(path.parent)


def mdp_dataset(path: Path) -> None:
    """A dump of d3rlpy 1: flat arrays."""
    with h5py.File(path, "w") as file:
        file["observations"] = np.random.default_rng(0).normal(size=(30, 2)).astype("f4")
        file["actions"] = np.arange(60, dtype="f4").reshape(30, 2)
        file["rewards"] = np.arange(1, 31, dtype="f4")
        file["terminals"] = file["episode_terminals"] = (np.arange(30) % 10 == 9).astype("f4")
        file["discrete_action"] = False
        file["version"] = "1.0"


D4RL = DATA / "d4rl" / "mini" / "hopper_medium.hdf5"
CASES = {
    "d4rl": Case(D4RL, D4RLSource, "rewards", "timeouts"),
    "d4rl qlearning": Case(D4RL, D4RLQLearningSource, "rewards", "timeouts"),
    "d3rlpy 2": Case(DATA / "d3rlpy" / "cartpole-v2.h5", d3rlpy_source, "rewards_6", "terminated_6"),
    "d3rlpy 1": Case(Path("mdp.h5"), d3rlpy_source, "rewards", "episode_terminals"),
    "tianshou": Case(DATA / "tianshou" / "cartpole.hdf5", TianshouSource, "_meta/obs", "_meta/truncated"),
    "robomimic": Case(DATA / "robomimic" / "lift.hdf5", RobomimicSource, "data/demo_0/obs/object", "data/demo_0/dones"),
    "minari": Case(
        DATA / "minari" / "fixture" / "cartpole-hdf5-v0" / "data" / "main_data.hdf5",
        minari,
        "episode_0/observations",
        "episode_0/truncations",
    ),
}


def copied(case: Case, folder: Path) -> Case:
    """Return a case whose file is a copy of its own in a folder of its own."""
    if case.file.is_absolute():
        if case.source is minari:
            shutil.copytree(case.file.parent, folder)
        else:
            folder.mkdir()
            shutil.copy(case.file, folder)
    else:
        folder.mkdir()
        mdp_dataset(folder / case.file)
    return replace(case, file=folder / case.file.name)
