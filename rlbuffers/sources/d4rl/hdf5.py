"""D4RL's HDF5 files: flat arrays of consecutive steps, with the ends of episodes as flags.

What differs between the published files, and how it is read:

- ``timeouts`` may be missing (downloads before August 2020). Where the environment's limit is where
  episodes end, they are rebuilt from it; see `rebuilt_timeouts`.
- In AntMaze and Maze2D a terminal marks a goal, and play goes on: only timeouts end an episode.
- ``next_observations`` (gym v1 and v2) hold the last observation of each episode; elsewhere it is
  lost, as the following row is the next episode's first. They also tell resets that no flag marks.
- Flags may be floats, rewards (N, 1), ``infos`` one array or a group. ``metadata`` is about the whole.
- The file may end in the middle of an episode.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.episode import Episode
from rlbuffers.reader_versions import source_facts
from rlbuffers.schema import (
    REWARDS,
    TERMINALS,
    TIMEOUTS,
    BufferSpec,
    ColumnSpec,
    is_observation,
    next_name,
)
from rlbuffers.sources.base import FileSource, blamed_on
from rlbuffers.sources.d4rl.datasets import D4RLDataset
from rlbuffers.sources.d4rl.facts import checked_dataset, file_warnings, known_facts, policy_notes
from rlbuffers.sources.files import file_facts
from rlbuffers.sources.flat_columns import cut_episodes, ended_by_timeout, episode_bounds
from rlbuffers.sources.flat_ends import (
    ENDS_LOOKED_AT,
    SHIFTED,
    goal_rows,
    goal_warning,
    next_rows_follow,
    reset_warnings,
    unmarked_resets,
)
from rlbuffers.sources.hdf5_columns import HDF5Columns
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally
from rlbuffers.task_ends import impossible_terminals

__all__ = ["IGNORED_GROUP", "D4RLSource", "rebuilt_timeouts"]

Array = np.ndarray[Any, Any]
IGNORED_GROUP = "virtual"  # chunks of the same rows again, for a loader that nothing else uses
# Rows that are cut into episodes at a time; memory is bounded by a few of these, or by the longest episode.
_BLOCK_BYTES = 16 << 20


class D4RLSource(FileSource[Episode]):
    """Steps in time order, from one file.

    Parameters
    ----------
    path : str or Path
        The file.
    dataset : D4RLDataset, optional
        What it is, if that is known.
    by_name : bool, default False
        Whether only the file's name says so. It is not believed if the rows are of another size.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or it is not such a file; says what was expected.
    """

    def __init__(self, path: str | Path, dataset: D4RLDataset | None = None, *, by_name: bool = False) -> None:
        super().__init__(path)
        self._file = HDF5Columns(self.path, ignore=IGNORED_GROUP)
        self._dataset, self._warnings, self._notes = checked_dataset(
            dataset, self._file.columns, self.path.name, by_name=by_name
        )
        self._following = {
            next_name(name): name
            for name in self._file.columns
            if is_observation(name) and next_name(name) in self._file.columns
        }
        self._measurements: dict[str, Any] = {}
        self._flags = {TERMINALS: self._file.column(TERMINALS)}
        timeouts = self._timeouts()
        if timeouts is not None:
            self._flags[TIMEOUTS] = timeouts
        self._terminals_cut = self._whether_terminals_cut()
        self._ends = self._flags.get(TIMEOUTS, np.zeros(self._file.num_rows, bool))
        if self._terminals_cut:
            self._ends = self._ends | self._flags[TERMINALS]
        self._bounds = episode_bounds(self._ends)
        self._resets = 0
        self._following_is_next_row: bool | None = None
        self._spec = self._make_spec()

    def _timeouts(self) -> Array | None:
        """Return the file's timeouts, or what is known of them otherwise, and say so."""
        if TIMEOUTS in self._file.columns:
            return self._file.column(TIMEOUTS)
        terminals = self._flags[TERMINALS]
        rule = self._dataset.timeouts if self._dataset else "unknown"
        if self._dataset and rule == "horizon":
            rebuilt = rebuilt_timeouts(terminals, self._dataset.horizon)
            self._measurements["timeouts_rebuilt"] = int(rebuilt.sum())
            self._notes.append(
                f"The file has no timeouts. They were rebuilt: one after every {self._dataset.horizon:,} steps "
                "without a terminal."
            )
            return rebuilt
        if rule == "none":
            self._notes.append("The file has no timeouts; none is set.")
            return np.zeros(len(terminals), bool)
        return None

    def _remarks_on_timeouts(self) -> tuple[list[str], list[str]]:
        """Return warnings and notes about timeouts that are missing; next observations show where play was reset."""
        if TIMEOUTS in self._flags:
            return [], []
        if self._following and (self._resets or self._following_is_next_row is False):
            return [], [
                "The file has no timeouts. An episode ends at a terminal, and where the next observation is not the "
                "following row's."
            ]
        if self._dataset is None:
            return [
                "The file has no timeouts, and where its episodes were cut is not known: only terminals end an "
                "episode. If play was also reset elsewhere, next observations are wrong there. Name the dataset if it "
                "is one of D4RL's."
            ], []
        return [
            "The file has no timeouts, unlike the one that was published, and its episodes do not follow the "
            "environment's limit: where they were cut is lost, and next observations are wrong there."
        ], []

    def _whether_terminals_cut(self) -> bool:
        """Tell whether a terminal ends an episode; where nothing is known, from the data."""
        if self._dataset is not None:
            return self._dataset.terminals_end_episodes
        goals = goal_rows(self._flags)
        if not len(goals) or not self._play_goes_on(goals[:ENDS_LOOKED_AT]):
            return True
        self._measurements["terminals_in_long_runs"] = len(goals)
        self._warnings.append(goal_warning(len(goals)))
        return False

    def _play_goes_on(self, rows: Array) -> bool:
        """Whether next observations, if there are any, are the observations of the rows that follow."""
        names = [*self._following, *self._following.values()]
        pairs = [(int(row), int(row) + 2) for row in rows]
        first = np.zeros(1, np.int64)
        return all(next_rows_follow(block, first) for block in self._file.rows(pairs, names))

    def _make_spec(self) -> BufferSpec:
        columns = {name: column for name, column in self._file.columns.items() if name not in self._following}
        for name in self._flags:
            columns[name] = ColumnSpec(name, np.dtype(np.bool_))
        with blamed_on(self.path):
            return BufferSpec(layout="episodes", columns=columns, extras=self._file.extras)

    @property
    def spec(self) -> BufferSpec:
        """Episodes, with every column of the file."""
        return self._spec

    def pieces(self) -> Iterator[Episode]:
        """Yield the episodes in order."""
        names = [name for name in self._file.columns if name not in self._flags]
        spans = list(self._spans())
        # One row more than is cut: the first of the next episode, to compare with.
        ahead = [(start, min(stop + 1, self._file.num_rows)) for start, stop in spans]
        for (start, stop), block in zip(spans, self._file.rows(ahead, names), strict=True):
            ends = self._ends[start:stop]
            if self._following_is_next_row is None:
                self._following_is_next_row = self._repeats(block, ends)
            if self._following_is_next_row:
                block = {name: rows for name, rows in block.items() if name not in self._following}
            columns = {name: rows[: stop - start] for name, rows in block.items()}
            columns |= {name: rows[start:stop] for name, rows in self._flags.items()}
            resets = unmarked_resets(columns, ends)
            self._resets += int(resets.sum())
            for episode in cut_episodes(columns, ends | resets):
                self._done += len(episode)
                yield episode if self._terminals_cut else ended_by_timeout(episode)

    def _spans(self) -> Iterator[tuple[int, int]]:
        """Group episodes into blocks of rows that are worth reading at once."""
        row_bytes = sum(column.row_bytes for column in self._file.columns.values())
        wanted = max(_BLOCK_BYTES // row_bytes, 1)
        first = 0
        for _, stop in self._bounds:
            if stop - first >= wanted:
                yield first, stop
                first = stop
        if first < self._file.num_rows:
            yield first, self._file.num_rows

    def _repeats(self, block: Mapping[str, Array], ends: Array) -> bool | None:
        """Whether next observations at ends are the next episode's first ones, so made by shifting; None: no end."""
        rows = np.flatnonzero(ends)
        rows = rows[rows + 1 < len(block[REWARDS])][:ENDS_LOOKED_AT]
        if not self._following or not len(rows):
            return None
        return next_rows_follow(block, rows)

    def extras(self) -> Mapping[str, Array]:
        """Return what belongs to the file as a whole, such as the weights of the policy."""
        return self._file.read_extras()

    def tally(self) -> Tally:
        """Count the file's rows."""
        rewards = self._file.column(REWARDS)
        return Tally(len(self._bounds) + self._resets, len(rewards), total_reward(rewards))

    def metadata(self) -> dict[str, Any]:
        """Describe the file, and what was found out about it."""
        facts = file_facts(self.path)
        known = known_facts(self._dataset)
        environment = known["environment"] | ({} if self._terminals_cut else {"terminals_end_episodes": False})
        resets = {"unmarked_resets": self._resets} if self._resets else {}
        warnings, notes = self._remarks_on_timeouts()
        return {
            **known,
            "environment": environment,
            "source": source_facts("d4rl", files=[facts], **known["source"]),
            "measurements": {**self._measurements, **resets},
            "warnings": [
                *file_warnings(self._dataset, facts),
                *self._warnings,
                *warnings,
                *reset_warnings(self._resets, self._file.num_rows),
                *impossible_terminals(environment, int(self._flags[TERMINALS].sum())),
            ],
            "left_out": [*self._file.left_out, *([SHIFTED] if self._following_is_next_row else [])],
            "scalars": self._file.scalars,
            "notes": [
                *known["notes"],
                *self._notes,
                *notes,
                *self._end_notes(),
                *policy_notes(self._file.read_extras()),
            ],
        }

    def _end_notes(self) -> list[str]:
        if self._ends[-1]:
            return []
        return ["The file ends in the middle of an episode, which has neither terminal nor timeout."]

    @property
    def total(self) -> int:
        """Number of rows."""
        return self._file.num_rows


def rebuilt_timeouts(terminals: Array, horizon: int) -> Array:
    """Set a timeout after every `horizon` steps without a terminal.

    The count starts again at 0 after every end, by terminal or by timeout. (D4RL's own loaders start
    at 1 after a terminal, which cuts the following episode one step short.)

    Parameters
    ----------
    terminals : bool, shape (N,)
        Rows that end an episode.
    horizon : int
        At least 1.

    Returns
    -------
    bool, shape (N,)
        Never set where `terminals` is.
    """
    timeouts = np.zeros(len(terminals), bool)
    for start, stop in episode_bounds(terminals):
        timeouts[start + horizon - 1 : stop : horizon] = True
    return timeouts & ~terminals
