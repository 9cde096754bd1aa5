"""The transitions that D4RL's ``qlearning_dataset`` makes of a file, and many published results stand on.

For every row but the last one, the next observation is the observation of the following row; rows at
a timeout are dropped, as the following row is there another episode's first. Everything becomes
float32. ``next_observations`` of the file are not looked at, and terminals are passed on as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.episode import Transitions
from rlbuffers.errors import FormatError, UsageError
from rlbuffers.listing import listed
from rlbuffers.reader_versions import source_facts
from rlbuffers.schema import (
    ACTIONS,
    NEXT_OBSERVATIONS,
    OBSERVATIONS,
    REWARDS,
    TERMINALS,
    TIMEOUTS,
    BufferSpec,
    ColumnSpec,
)
from rlbuffers.sources.base import FileSource, blamed_on
from rlbuffers.sources.d4rl.datasets import D4RLDataset
from rlbuffers.sources.d4rl.facts import checked_dataset, file_warnings, known_facts
from rlbuffers.sources.d4rl.hdf5 import IGNORED_GROUP
from rlbuffers.sources.files import file_facts
from rlbuffers.sources.hdf5_columns import HDF5Columns
from rlbuffers.sources.ogbench_names import find_ogbench
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally
from rlbuffers.task_ends import impossible_terminals

__all__ = ["D4RLQLearningSource", "counted_timeouts"]

Array = np.ndarray[Any, Any]
_BLOCK_BYTES = 16 << 20
_FLOAT = np.dtype(np.float32)
_READ = (OBSERVATIONS, ACTIONS, REWARDS)


class D4RLQLearningSource(FileSource[Transitions]):
    """Transitions in time order, from one file.

    Parameters
    ----------
    path : str or Path
        The file.
    dataset : D4RLDataset, optional
        What it is, if that is known; needed for a file without timeouts.
    names : mapping of str to str, optional
        Array of the file to its name in the buffer.
    by_name : bool, default False
        Whether only the file's name says so. It is not believed if the rows are of another size.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or it is not such a file; says what was expected.
    UsageError
        If the file has no timeouts and nobody says what the environment's limit is.
    """

    def __init__(
        self,
        path: str | Path,
        dataset: D4RLDataset | None = None,
        names: Mapping[str, str] | None = None,
        *,
        by_name: bool = False,
    ) -> None:
        super().__init__(path)
        of_recordings = dataset is None and find_ogbench(self.path) is not None
        self._file = HDF5Columns(self.path, IGNORED_GROUP, names, of_recordings=of_recordings)
        self._dataset, self._warnings, self._notes = checked_dataset(
            dataset, self._file.columns, self.path.name, by_name=by_name
        )
        if OBSERVATIONS not in self._file.columns:
            raise FormatError(
                f"{self.path}: expected one array 'observations'; D4RL's qlearning_dataset takes no others"
            )
        self._terminals = self._file.column(TERMINALS)
        self._dropped = self._timeouts()
        with blamed_on(self.path):
            self._spec = BufferSpec("transitions", [*map(self._float_column, _READ), *self._other_columns()])
        self.kept = self._file.kept
        self._spec = self.with_kept(self._spec)

    def _timeouts(self) -> Array:
        if TIMEOUTS in self._file.columns:
            return self._file.column(TIMEOUTS)
        if self._dataset is None:
            raise UsageError(
                f"{self.path}: has no timeouts, so D4RL counts steps up to the environment's limit; name the dataset"
            )
        return counted_timeouts(self._terminals, self._dataset.horizon)

    def _float_column(self, name: str) -> ColumnSpec:
        return ColumnSpec(name, _FLOAT, self._file.columns[name].shape)

    def _other_columns(self) -> list[ColumnSpec]:
        following = ColumnSpec(NEXT_OBSERVATIONS, _FLOAT, self._file.columns[OBSERVATIONS].shape)
        return [following, ColumnSpec(TERMINALS, np.dtype(np.bool_))]

    @property
    def spec(self) -> BufferSpec:
        """Transitions of float32 columns."""
        return self._spec

    def pieces(self) -> Iterator[Transitions]:
        """Yield blocks of transitions in order."""
        last = self._file.num_rows - 1
        row_bytes = sum(self._file.columns[name].row_bytes for name in _READ)
        step = max(_BLOCK_BYTES // row_bytes, 1)
        spans = [(start, min(start + step, last)) for start in range(0, last, step)]
        ahead = [(start, stop + 1) for start, stop in spans]
        for (start, stop), block in zip(spans, self._file.rows(ahead, _READ), strict=True):
            self._done = stop
            kept = np.flatnonzero(~self._dropped[start:stop])
            floats = {name: rows.astype(_FLOAT) for name, rows in block.items()}
            columns = {name: rows[kept] for name, rows in floats.items()}
            columns[NEXT_OBSERVATIONS] = floats[OBSERVATIONS][kept + 1]
            columns[TERMINALS] = self._terminals[start + kept]
            if len(kept):
                yield Transitions(columns)

    def tally(self) -> Tally:
        """Count the rows that D4RL would keep."""
        rewards = self._file.column(REWARDS)[:-1][~self._dropped[:-1]]
        return Tally(None, len(rewards), total_reward(rewards.astype(_FLOAT)))

    def metadata(self) -> dict[str, Any]:
        """Describe the file and what is left out of it."""
        facts = file_facts(self.path)
        known = known_facts(self._dataset)
        dropped = int(self._dropped[:-1].sum())
        others = sorted({*self._file.columns, *self._file.extras, *self._file.scalars} - set(self._spec.columns))
        left_out = [
            "the last row of the file, whose next observation D4RL does not know",
            f"{dropped:,} rows at a timeout, where the following row is another episode's first",
            "timeouts, and with them where episodes begin",
        ]
        if NEXT_OBSERVATIONS in self._file.columns:
            left_out.append("next_observations of the file: D4RL takes the observations of the following rows")
        if set(others) - {TIMEOUTS}:
            left_out.append(f"what D4RL does not pass on: {listed(name for name in others if name != TIMEOUTS)}")
        return self.with_kept_facts(
            {
                **known,
                "source": source_facts("d4rl", view="qlearning", files=[facts], **known["source"]),
                "measurements": {"rows_in_the_file": self._file.num_rows, "rows_dropped_at_timeouts": dropped},
                "warnings": [
                    *file_warnings(self._dataset, facts),
                    *self._warnings,
                    *self._file.warnings,
                    *self._file.flags.warnings,
                    *impossible_terminals(known["environment"], int(self._terminals.sum())),
                ],
                "left_out": [*self._file.left_out, *left_out],
                "notes": [*known["notes"], *self._notes, *self._file.flags.notes, *self._count_notes()],
            }
        )

    def _count_notes(self) -> list[str]:
        if TIMEOUTS in self._file.columns or self._dataset is None:
            return []
        return [
            f"The file has no timeouts: D4RL counts {self._dataset.horizon:,} steps, from 0 at first and after a "
            "timeout, from 1 after a terminal."
        ]

    @property
    def total(self) -> int:
        """Number of rows."""
        return self._file.num_rows


def counted_timeouts(terminals: Array, horizon: int) -> Array:
    """Find the rows that D4RL drops in a file without timeouts.

    It drops the row whose count is `horizon` - 1. The count begins at 0, and at 0 again after a dropped
    row, but at 1 after a terminal.

    Parameters
    ----------
    terminals : bool, shape (N,)
        One of them is dropped too if the count says so.
    horizon : int
        At least 1.

    Returns
    -------
    bool, shape (N,)
    """
    dropped = np.zeros(len(terminals), bool)
    ends = np.append(np.flatnonzero(terminals), len(terminals))
    row, count = 0, 0
    while row < len(terminals):
        # The next row at which something happens: the count is full, or a terminal, whichever comes first.
        full = row + horizon - 1 - count if count < horizon else len(terminals)
        end = int(ends[np.searchsorted(ends, row)])
        if full <= end and full < len(terminals):
            dropped[full] = True
            row, count = full + 1, 0
        else:
            row, count = end + 1, 1
    return dropped
