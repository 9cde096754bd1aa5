"""Episodes from a table of flat columns: where they end, and what is believed of the file.

The same for HDF5 files and NumPy's archives. An episode ends where the flags say so (see `flat_flags`), and where
next observations show that play was reset although no flag marks it; see `flat_ends`.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rlbuffers.episode import Episode
from rlbuffers.errors import UsageError
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
from rlbuffers.sources.flat_table import FlatTable
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["NO_REWARDS", "FlatSource", "TerminalMeaning"]

Array = np.ndarray[Any, Any]
# Rows that are cut into episodes at a time; memory is bounded by a few of these, or by the longest episode.
_BLOCK_BYTES = 16 << 20
TerminalMeaning = Literal["end", "goal"]
_SAID: dict[TerminalMeaning | None, tuple[str]] = {
    "end": ("Every terminal ends an episode, as was said (--terminals end).",),
    "goal": ("Terminals are goals that play goes on from, as was said (--terminals goal): they end no episode.",),
}
NO_REWARDS = "There are no rewards in the file: zeros stand in their place."


class FlatSource(FileSource[Episode]):
    """Steps in time order, from one file; memory is bounded by a block of rows, or by the longest episode.

    Parameters
    ----------
    path : Path
        The file.
    table : FlatTable
        Its columns and flags.
    timeouts : bool, shape (N,), optional
        Rows after which episodes were cut by time, where the file does not say it and something else does.
    terminals_end : bool, optional
        Whether a terminal ends an episode, if that is known; otherwise flags and data decide.
    terminals : {"end", "goal"}, optional
        What the user says that a terminal marks: the end of an episode, or a goal that play goes on from. Outranks all.

    Raises
    ------
    UsageError
        If nothing would end an episode then.
    """

    def __init__(
        self,
        path: Path,
        table: FlatTable,
        timeouts: Array | None = None,
        *,
        terminals_end: bool | None = None,
        terminals: TerminalMeaning | None = None,
    ) -> None:
        super().__init__(path)
        self._table = table
        self._following = {
            next_name(name): name for name in table.columns if is_observation(name) and next_name(name) in table.columns
        }
        self._flags = {TERMINALS: table.flags.terminals}
        known = table.flags.timeouts if timeouts is None else timeouts
        if known is not None:
            self._flags[TIMEOUTS] = known
        self._goals = 0
        self._said = terminals
        if terminals is not None:
            terminals_end = terminals == "end"
        self._terminals_cut = self._whether_terminals_cut() if terminals_end is None else terminals_end
        if terminals == "goal" and known is None and table.flags.ends is None and not self._following:
            raise UsageError(
                f"{path}: --terminals goal: the file has no timeouts and no next observations, so nothing would end an "
                "episode; name the column that does with --map COLUMN=timeouts"
            )
        self._ends = self._ends_by_flags()
        self._bounds = episode_bounds(self._ends)
        self._resets = 0
        self._following_is_next_row: bool | None = None
        self.kept = table.kept
        self._spec = self.with_kept(self._make_spec())

    @property
    @abstractmethod
    def format(self) -> str:
        """The format's name, for the metadata."""

    def _whether_terminals_cut(self) -> bool:
        """Tell whether a terminal ends an episode: where flags say no more, from the data."""
        apart = self._table.flags.ends
        if apart is not None:
            return not (self._flags[TERMINALS] & ~apart).any()
        goals = goal_rows(self._flags)
        if not len(goals) or not self._play_goes_on(goals[:ENDS_LOOKED_AT]):
            return True
        self._goals = len(goals)
        return False

    def _play_goes_on(self, rows: Array) -> bool:
        """Whether next observations, if there are any, are the observations of the rows that follow."""
        names = [*self._following, *self._following.values()]
        pairs = [(int(row), int(row) + 2) for row in rows]
        first = np.zeros(1, np.int64)
        return all(next_rows_follow(block, first) for block in self._table.rows(pairs, names))

    def _ends_by_flags(self) -> Array:
        if self._table.flags.ends is not None:
            return self._table.flags.ends | self._flags[TERMINALS] if self._said == "end" else self._table.flags.ends
        ends: Array = self._flags.get(TIMEOUTS, np.zeros(self._table.num_rows, bool))
        return ends | self._flags[TERMINALS] if self._terminals_cut else ends

    def _make_spec(self) -> BufferSpec:
        columns = {name: column for name, column in self._table.columns.items() if name not in self._following}
        for name in self._flags:
            columns[name] = ColumnSpec(name, np.dtype(np.bool_))
        with blamed_on(self.path):
            return BufferSpec(layout="episodes", columns=columns, extras=self._table.extras)

    @property
    def spec(self) -> BufferSpec:
        """Episodes, with every column of the file."""
        return self._spec

    def pieces(self) -> Iterator[Episode]:
        """Yield the episodes in order."""
        names = [name for name in self._table.columns if name not in self._flags]
        spans = list(self._spans())
        # One row more than is cut: the first of the next episode, to compare with.
        ahead = [(start, min(stop + 1, self._table.num_rows)) for start, stop in spans]
        for (start, stop), block in zip(spans, self._table.rows(ahead, names), strict=True):
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
                first = self._done
                self._done += len(episode)
                yield self._judged(episode, first)

    def _judged(self, episode: Episode, first: int) -> Episode:
        """Say whether an episode, which begins at row `first`, was recorded whole."""
        if self._table.flags.ends is not None:
            began = first > 0 or not self._table.flags.starts_inside
            return dataclasses.replace(episode, whole=began and self._is_finished(first + len(episode)))
        return episode if self._terminals_cut else ended_by_timeout(episode)

    def _is_finished(self, stop: int) -> bool:
        """Whether the episode before row `stop` went on to its end, where ends stand apart from the flags."""
        return bool(self._ends[stop - 1])

    def _spans(self) -> Iterator[tuple[int, int]]:
        """Group episodes into blocks of rows that are worth reading at once."""
        row_bytes = sum(column.row_bytes for column in self._table.columns.values())
        wanted = max(_BLOCK_BYTES // row_bytes, 1)
        first = 0
        for _, stop in self._bounds:
            if stop - first >= wanted:
                yield first, stop
                first = stop
        if first < self._table.num_rows:
            yield first, self._table.num_rows

    def _repeats(self, block: Mapping[str, Array], ends: Array) -> bool | None:
        """Whether next observations at ends are the next episode's first ones, so made by shifting; None: no end."""
        rows = np.flatnonzero(ends)
        rows = rows[rows + 1 < len(block[REWARDS])][:ENDS_LOOKED_AT]
        if not self._following or not len(rows):
            return None
        return next_rows_follow(block, rows)

    def extras(self) -> Mapping[str, Array]:
        """Return what belongs to the file as a whole, such as the weights of a policy."""
        return self._table.read_extras()

    def tally(self) -> Tally:
        """Count the file's rows."""
        rewards = self._table.column(REWARDS)
        return Tally(len(self._bounds) + self._resets, len(rewards), total_reward(rewards))

    def metadata(self) -> dict[str, Any]:
        """Describe the file, and what was found out about it."""
        flags = self._table.flags
        columns = {"columns": self._table.renamed} if self._table.renamed else {}
        goals = {"terminals_in_long_runs": self._goals} if self._goals else {}
        return {
            "environment": {"terminals_end_episodes": self._terminals_cut}
            if self._said or not self._terminals_cut
            else {},
            "behavior_policy": {},
            "source": source_facts(self.format, files=[file_facts(self.path)], **columns),
            "measurements": {**goals, **({"unmarked_resets": self._resets} if self._resets else {})},
            "warnings": [
                *self._table.warnings,
                *flags.warnings,
                *([goal_warning(self._goals)] if self._goals else []),
                *reset_warnings(self._resets, self._table.num_rows),
            ],
            "left_out": [*self._table.left_out, *([SHIFTED] if self._following_is_next_row else [])],
            "scalars": self._table.scalars,
            "license": "",
            "citation": "",
            "notes": [*flags.notes, *_SAID.get(self._said, ()), *([] if self._table.has_rewards else [NO_REWARDS])],
        }

    @property
    def total(self) -> int:
        """Number of rows."""
        return self._table.num_rows
