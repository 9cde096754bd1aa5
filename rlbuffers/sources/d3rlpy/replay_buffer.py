"""d3rlpy's replay buffers, as ``ReplayBuffer.dump`` writes them (version 2 of its format).

Format: ``d3rlpy/dataset/io.py`` of takuseno/d3rlpy. Episode i is ``observations_i``, ``actions_i``,
``rewards_i`` (T, 1) and ``terminated_i``, with T observations and none after the last action. Several
observations a step are ``observations_i_0``, ``observations_i_1``, ... An episode that is not
terminated was cut, and its last row serves d3rlpy only as the next observation of the row before it.
Here that row is kept, and what it led to is not known; except in files of our own export, which says
of each episode whether its last row is nothing but the observation after the last action.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rlbuffers.episode import Episode
from rlbuffers.errors import FormatError
from rlbuffers.kept_facts import KeptFacts
from rlbuffers.reader_versions import source_facts
from rlbuffers.schema import ACTIONS, OBSERVATIONS, REWARDS, TERMINALS, TIMEOUTS, BufferSpec, ColumnSpec, is_observation
from rlbuffers.sources.base import FileSource, blamed_on
from rlbuffers.sources.files import file_facts
from rlbuffers.sources.hdf5_files import WrittenChunks, check_size, opened_hdf5
from rlbuffers.sources.hdf5_rows import rows_of
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["FINAL_ROWS", "NUM_EPISODES", "OBSERVATION_NAMES", "TERMINATED", "D3rlpySource"]

Array = np.ndarray[Any, Any]
NUM_EPISODES = "num_episodes"
TERMINATED = "terminated"
# Data sets of our own export, which d3rlpy does not look at: whether the last row of each episode is an observation
# only, and the names of the observations where there are several.
FINAL_ROWS = "rlbuffers_final_rows"
OBSERVATION_NAMES = "rlbuffers_observation_names"
_KNOWN = {OBSERVATIONS, ACTIONS, REWARDS, TERMINATED, "columns", "version", NUM_EPISODES, FINAL_ROWS, OBSERVATION_NAMES}


class D3rlpySource(FileSource[Episode]):
    """The episodes of one dump.

    Parameters
    ----------
    path : str or Path
        The file.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or it is not such a dump; says what was expected.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._num_transitions = 0
        self._num_unknown = 0
        self._reward_sum = 0.0
        self._written = WrittenChunks(self.path)
        with opened_hdf5(self.path) as file:
            self._count = self._num_episodes(file)
            self._places = self._observation_places(file)
            self._final_rows = self._read_final_rows(file)
            first = self._members(file, 0)
            self._kinds = {name: (array.dtype, array.shape[1:]) for name, array in first.items()}
            self._left_out = _other_arrays(file)
            self.kept = KeptFacts.of_attribute(file, str(self.path))
        self._spec = self.with_kept(self._make_spec())

    def _num_episodes(self, file: h5py.File) -> int:
        found = file.get(NUM_EPISODES)
        if not isinstance(found, h5py.Dataset) or found.shape != () or found.dtype.kind not in "iu":
            names = ", ".join(sorted(file)[:8]) or "nothing"
            raise FormatError(f"{self.path}: expected a d3rlpy dump with a number '{NUM_EPISODES}'; found {names}")
        count = int(found[()])
        if not 1 <= count <= len(file):
            raise FormatError(
                f"{self.path}: expected at least one episode and arrays for each; found {NUM_EPISODES} {count:,} and "
                f"{len(file):,} arrays"
            )
        return count

    def _observation_places(self, file: h5py.File) -> dict[str, str]:
        """Return what follows ``observations_i`` in the name of each observation's arrays."""
        if f"{OBSERVATIONS}_0" in file:
            return {OBSERVATIONS: ""}
        count = 0
        while f"{OBSERVATIONS}_0_{count}" in file:
            count += 1
        if not count:
            raise FormatError(f"{self.path}: expected '{OBSERVATIONS}_0', which is missing")
        names = [f"{OBSERVATIONS}/{number}" for number in range(count)]
        given = file.get(OBSERVATION_NAMES)
        if isinstance(given, h5py.Dataset) and given.shape == (count,):
            names = [str(name) for name in given.asstr()[:]]
        return {name: f"_{number}" for number, name in enumerate(names)}

    def _read_final_rows(self, file: h5py.File) -> Array:
        if FINAL_ROWS not in file:
            return np.zeros(self._count, bool)
        rows: Array = rows_of(file[FINAL_ROWS])
        if rows.shape != (self._count,) or rows.dtype != np.bool_:
            raise FormatError(f"{self.path}: expected a bool for each of {self._count:,} episodes in '{FINAL_ROWS}'")
        return rows

    def _members(self, file: h5py.File, number: int) -> dict[str, h5py.Dataset]:
        """Return the arrays of an episode by column name."""
        places = {name: f"{OBSERVATIONS}_{number}{suffix}" for name, suffix in self._places.items()}
        places |= {name: f"{name}_{number}" for name in (ACTIONS, REWARDS)}
        found = {name: file.get(place) for name, place in places.items()}
        for name, array in found.items():
            if not isinstance(array, h5py.Dataset):
                raise FormatError(f"{self.path}: expected an array {places[name]!r}, which is missing")
            check_size(array, self.path)
        for name, array in found.items():
            if not array.shape or array.dtype.kind not in "biuf" or array.shape[:1] != found[REWARDS].shape[:1]:
                raise FormatError(
                    f"{self.path}: expected as many rows of numbers in {places[name]!r} as in {places[REWARDS]!r}; "
                    f"found {array.dtype} {array.shape} and {found[REWARDS].shape}"
                )
        return found

    def _make_spec(self) -> BufferSpec:
        columns = [
            ColumnSpec(TERMINALS, np.dtype(np.bool_)),
            ColumnSpec(TIMEOUTS, np.dtype(np.bool_)),
        ]
        if self._kinds[REWARDS][1] not in ((), (1,)):
            raise FormatError(f"{self.path}: expected one reward a row, found rows of shape {self._kinds[REWARDS][1]}")
        with blamed_on(self.path):
            for name, (dtype, shape) in self._kinds.items():
                columns.append(ColumnSpec(name, dtype, _row_shape(name, dtype, shape)))
            return BufferSpec("episodes", columns)

    @property
    def spec(self) -> BufferSpec:
        """Episodes; several observations are ``observations/0``, ``observations/1``, ..."""
        return self._spec

    def pieces(self) -> Iterator[Episode]:
        """Yield the episodes in order."""
        with opened_hdf5(self.path) as file:
            for number in range(self._count):
                members = self._members(file, number)
                for name, array in members.items():
                    self._written.look(array, name, is_needed=True)
                rows = {name: rows_of(array) for name, array in members.items()}
                terminated = self._terminated(file, number)
                count = self._checked_count(number, rows, terminated)
                self._done += 1
                self._num_transitions += count
                self._num_unknown += not terminated and not self._final_rows[number]
                self._reward_sum += total_reward(rows[REWARDS][:count])
                yield self._episode(rows, count, terminated)
        self._written.require()

    def _terminated(self, file: h5py.File, number: int) -> bool:
        place = f"{TERMINATED}_{number}"
        found = file.get(place)
        if not isinstance(found, h5py.Dataset) or found.size != 1 or found.dtype.kind not in "biuf":
            raise FormatError(f"{self.path}: expected one flag in {place!r}")
        flag = found[()]
        if np.isnan(flag).any():
            raise FormatError(f"{self.path}: expected a flag in {place!r}, found NaN")
        return bool(flag)

    def _checked_count(self, number: int, rows: dict[str, Array], terminated: bool) -> int:
        """Return the number of transitions."""
        for name, values in rows.items():
            if (values.dtype, values.shape[1:]) != self._kinds[name]:
                dtype, shape = self._kinds[name]
                raise FormatError(
                    f"{self.path}: episode {number}: expected {name!r} like episode 0's, {dtype} {shape}; found "
                    f"{values.dtype} {values.shape[1:]}"
                )
        if terminated and self._final_rows[number]:
            raise FormatError(f"{self.path}: episode {number}: '{FINAL_ROWS}' is for episodes that are not terminated")
        count = len(rows[REWARDS]) - int(self._final_rows[number])
        if count < 1:
            raise FormatError(f"{self.path}: episode {number}: expected steps, found none")
        return count

    def _episode(self, rows: dict[str, Array], count: int, terminated: bool) -> Episode:
        columns = {
            name: rows[name][:count].reshape(count, *self._spec.columns[name].shape) for name in (ACTIONS, REWARDS)
        }
        last = np.arange(count) == count - 1
        columns[TERMINALS] = last & terminated
        columns[TIMEOUTS] = last & (not terminated)
        return Episode(columns, {name: values for name, values in rows.items() if is_observation(name)})

    def tally(self) -> Tally:
        """Count the rows that were read."""
        return Tally(self._count, self._num_transitions, self._reward_sum)

    def metadata(self) -> dict[str, Any]:
        """Describe the file."""
        notes = [
            "The format has no timeouts: the last row of every episode that is not terminated has one.",
            "What was observed after the last action of a terminated episode is not in the file.",
        ]
        if self._num_unknown:
            notes.append(
                f"{self._num_unknown:,} episodes end with a row whose next observation is not in the file; d3rlpy has "
                "no transition there."
            )
        return self.with_kept_facts(
            {
                "environment": {},
                "behavior_policy": {},
                "source": source_facts("d3rlpy", files=[file_facts(self.path)]),
                "measurements": {},
                "warnings": self._written.warnings,
                "left_out": self._left_out,
                "license": "",
                "citation": "",
                "notes": notes,
            }
        )

    @property
    def total(self) -> int:
        """Number of episodes."""
        return self._count


def _row_shape(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Rewards, and whole-number actions, are (T, 1) in the file and one number a step here."""
    single = name == REWARDS or (name == ACTIONS and dtype.kind in "biu")
    return () if single and shape == (1,) else shape


def _other_arrays(file: h5py.File) -> list[str]:
    """Name what is no part of the format, such as the columns of an episode class of the user's own."""
    roots = dict.fromkeys(name.rstrip("0123456789_") for name in file if name not in _KNOWN)
    return [f"arrays named {name!r}" for name in sorted(set(roots) - _KNOWN)]
