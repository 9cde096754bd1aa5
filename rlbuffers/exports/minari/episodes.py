"""Episodes of a buffer as groups of a Minari dataset's HDF5 file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import h5py
import numpy as np

from rlbuffers.exports.base import block_rows, episode_blocks
from rlbuffers.exports.episode_arrays import EpisodeArray, NumberArray
from rlbuffers.exports.kept_steps import KeptSteps
from rlbuffers.exports.minari.arrays import ImageArray
from rlbuffers.reader import Buffer
from rlbuffers.schema import (
    ACTIONS,
    EPISODES_GROUP,
    REWARDS,
    TERMINALS,
    TIMEOUTS,
    ColumnSpec,
    is_observation,
    next_name,
)
from rlbuffers.sources.minari.columns import RESET_INFOS
from rlbuffers.sources.minari.dataset import SEEDS, SEEDS_KNOWN

__all__ = ["MinariEpisodes"]

Array = np.ndarray[Any, Any]
_INFOS = "infos"
_FLAGS = {TERMINALS: "terminations", TIMEOUTS: "truncations"}


class MinariEpisodes:
    """What of a buffer goes into the groups, and where.

    Parameters
    ----------
    buffer : Buffer
        Of the ``episodes`` layout.
    ends : KeptSteps
        Which rows are written.
    images : frozenset of str
        Observations that become image files.
    """

    def __init__(self, buffer: Buffer, ends: KeptSteps, images: frozenset[str]) -> None:
        self._buffer = buffer
        self._ends = ends
        self._images = images
        given = {name: column for name, column in buffer.spec.columns.items() if _has_place(name)}
        self._columns = {flag: ColumnSpec(flag, np.dtype(np.bool_)) for flag in _FLAGS} | given
        self._observed = [name for name in self._columns if is_observation(name)]
        self._with_reset = [name for name in self._columns if self._has_reset(name)]

    def _has_reset(self, name: str) -> bool:
        """Whether a column is an info of which the buffer knows that of the reset too."""
        column, reset = self._columns[name], self._buffer.spec.episode_columns.get(_reset_name(name))
        is_info = name.startswith(f"{_INFOS}/")
        return is_info and reset is not None and (reset.dtype, reset.shape) == (column.dtype, column.shape)

    def unplaced(self) -> dict[str, list[str]]:
        """Return the columns, and the facts of episodes, that have no place."""
        spec = self._buffer.spec
        written = {SEEDS, SEEDS_KNOWN, *map(_reset_name, self._with_reset)}
        return {
            "columns": [name for name in spec.columns if name not in self._columns],
            "what each episode has once": [name for name in spec.episode_columns if name not in written],
        }

    def write(self, file: h5py.File, on_progress: Callable[[int], None]) -> None:
        """Write all episodes; memory is bounded by a block of rows."""
        starts, stops, step = self._ends.starts, self._ends.stops, block_rows(self._buffer)
        names = [_reset_name(name) for name in self._with_reset] + [SEEDS, SEEDS_KNOWN]
        facts = {
            name: self._buffer.arrays[f"{EPISODES_GROUP}/{name}"].all()
            for name in names
            if name in self._buffer.spec.episode_columns
        }
        for first, last in episode_blocks(starts, stops, step):
            made = {
                episode: self._make(file, episode, {name: rows[episode] for name, rows in facts.items()})
                for episode in range(first, last)
                if starts[episode] < stops[episode]
            }
            end = int(stops[last - 1])
            for begin in range(int(starts[first]), end, step):  # more than once for one long episode only
                rows = self._rows(begin, min(begin + step, end))
                for episode, arrays in made.items():
                    part = slice(max(int(starts[episode]) - begin, 0), int(stops[episode]) - begin)
                    for name, array in arrays.items():
                        array.append(rows[name][part])
            finals = self._buffer.rows(stops[list(made)] - 1, [next_name(name) for name in self._observed])
            for place, arrays in enumerate(made.values()):
                for name in self._observed:
                    arrays[name].append(finals[next_name(name)][place : place + 1])
            on_progress(end)

    def _rows(self, start: int, stop: int) -> dict[str, Array]:
        """Read rows; the last one of an episode that lost a transition is a timeout."""
        rows = self._buffer.rows(
            np.arange(start, stop), [name for name in self._columns if name in self._buffer.spec.columns]
        )
        for flag in _FLAGS:
            rows.setdefault(flag, np.zeros(stop - start, bool))
        cut = self._ends.cut_rows
        cut = cut[(cut >= start) & (cut < stop)] - start
        if len(cut):
            rows[TIMEOUTS] = rows[TIMEOUTS].copy()
            rows[TIMEOUTS][cut] = True
        return rows

    def _make(self, file: h5py.File, episode: int, facts: Mapping[str, Any]) -> dict[str, EpisodeArray]:
        """Make the group of an episode with what it has once, and the arrays that its rows go to."""
        number = len(file)
        group = file.create_group(f"episode_{number}")
        count = int(self._ends.stops[episode] - self._ends.starts[episode])
        group.attrs["id"] = number
        group.attrs["total_steps"] = count
        if SEEDS in facts and facts.get(SEEDS_KNOWN, True):
            group.attrs["seed"] = int(facts[SEEDS])
        group.create_group(_INFOS)
        arrays: dict[str, EpisodeArray] = {}
        for name, column in self._columns.items():
            more = name in self._with_reset or name in self._observed
            if name in self._images:
                arrays[name] = ImageArray(group, name, count + more)
            else:
                arrays[name] = NumberArray(group, _FLAGS.get(name, name), count + more, column.dtype, column.shape)
        for name in self._with_reset:
            arrays[name].append(np.asarray(facts[_reset_name(name)])[None])
        return arrays


def _has_place(name: str) -> bool:
    return name in (ACTIONS, REWARDS, *_FLAGS) or is_observation(name) or name.startswith(f"{_INFOS}/")


def _reset_name(info: str) -> str:
    return RESET_INFOS + info.removeprefix(_INFOS)
