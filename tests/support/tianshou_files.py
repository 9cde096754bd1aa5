"""Files as Tianshou's ``save_hdf5`` writes them, made with h5py alone from steps that are put into rings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Array = np.ndarray[Any, Any]
ENDS = ("terminal", "timeout", "both")


@dataclass(frozen=True)
class Step:
    """One call of ``add``: what goes under each name, such as ``obs`` or ``info/speed``."""

    rows: Mapping[str, Any]

    @property
    def done(self) -> bool:
        return bool(self.rows["terminated"] or self.rows["truncated"])


def play(
    rng: np.random.Generator,
    count: int,
    *,
    env: int = 0,
    chance: float = 0.3,
    observation: Any = None,
    obs_next: bool = True,
    more: Mapping[str, Any] | None = None,
) -> list[Step]:
    """Return the steps of one environment; no observation occurs twice.

    `observation` makes one from a number; `more` makes further rows from it.
    """
    observation = observation or (lambda number: np.array([number, env], np.float32))
    steps = []
    number = 1000 * env
    for _ in range(count):
        kind = rng.choice(ENDS) if rng.random() < chance else ""
        rows = {
            "obs": observation(number),
            "act": np.int64(number % 5),
            "rew": rng.normal(),
            "terminated": kind in ("terminal", "both"),
            "truncated": kind in ("timeout", "both"),
            **({"obs_next": observation(number + 1)} if obs_next else {}),
            **{name: make(number) for name, make in (more or {}).items()},
        }
        rows["done"] = rows["terminated"] or rows["truncated"]
        steps.append(Step(rows))
        number += 2 if kind else 1
    return steps


def save(
    path: Path,
    envs: Sequence[Sequence[Step]],
    capacity: int,
    *,
    vector: bool = False,
    stack_num: int = 1,
    old: bool = False,
    compression: str | None = None,
    last_obs: bool = False,
) -> Path:
    """Write a ReplayBuffer of one environment, or a VectorReplayBuffer, of `capacity` rows for each.

    `old` gives the names that Tianshou used up to 1.0.
    """
    total = capacity * len(envs)
    arrays: dict[str, Array] = {}
    lengths, lasts = [], []
    for env, steps in enumerate(envs):
        last = 0
        for number, step in enumerate(steps):
            last = number % capacity
            for name, value in flat(step.rows).items():
                row = np.asarray(value)
                arrays.setdefault(name, np.zeros((total, *row.shape), row.dtype))[env * capacity + last] = row
        lengths.append(min(len(steps), capacity))
        lasts.append(env * capacity + last)
    with h5py.File(path, "w") as file:
        meta = file.create_group("_meta")
        meta.attrs["__data_type__"] = "Batch"
        meta.create_group("info")
        for name, array in arrays.items():
            put(meta, name, array, compression)
        put(file, "_indices", np.arange(total))
        put(file, "last_index", np.array(lasts))
        saves_next = any(name.startswith("obs_next") for name in arrays)
        file.attrs.update(
            {"maxsize": total, "stack_num": stack_num, "_save_obs_next": saves_next, "_save_only_last_obs": last_obs}
        )
        file.attrs["_size"] = 0 if vector else lengths[0]
        insertion = 0 if vector or not envs[0] else (lasts[0] + 1) % capacity
        file.attrs["_index" if old else "_insertion_idx"] = insertion
        file.attrs["_ep_rew" if old else "_ep_return"] = 0.0
        if vector:
            file.attrs["buffer_num"] = len(envs)
            put(file, "_lengths", np.array(lengths))
            put(file, "_offset", np.arange(len(envs)) * capacity)
            put(file, "_extend_offset", np.arange(len(envs) + 1) * capacity)
    return path


def flat(rows: Mapping[str, Any], folder: str = "") -> dict[str, Any]:
    """Return nested rows under names with ``/``."""
    found: dict[str, Any] = {}
    for name, value in rows.items():
        if isinstance(value, Mapping):
            found.update(flat(value, f"{folder}{name}/"))
        else:
            found[folder + name] = value
    return found


def put(group: h5py.Group, name: str, array: Array, compression: str | None = None, kind: str = "ndarray") -> None:
    """Write an array with the attribute that tells its kind."""
    group.create_dataset(name, data=array, compression=compression)
    group[name].attrs["__data_type__"] = kind


def kept(steps: Sequence[Step], capacity: int) -> list[Step]:
    """Return what is left in a ring, oldest first."""
    return list(steps[max(len(steps) - capacity, 0) :])


def episodes_of(steps: Sequence[Step]) -> list[list[Step]]:
    """Cut steps after each that is done."""
    episodes: list[list[Step]] = [[]]
    for step in steps:
        episodes[-1].append(step)
        if step.done:
            episodes.append([])
    return [episode for episode in episodes if episode]
