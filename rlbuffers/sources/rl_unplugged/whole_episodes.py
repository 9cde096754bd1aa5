"""What RL Unplugged's shards of whole episodes have in common: a record is an episode."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.schema import ACTIONS, TERMINALS, TIMEOUTS, BufferSpec, ColumnSpec
from rlbuffers.sources.rl_unplugged.rows import STEP_TYPES, RowsLayout
from rlbuffers.sources.rl_unplugged.shards import Record, ShardSource
from rlbuffers.sources.rl_unplugged.tasks import KnownTask
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["WholeEpisodesSource"]

Array = np.ndarray[Any, Any]
_RECORDS, _EMPTY = "records", "records_without_a_transition"
_ZEROS = "discounts_equal_to_zero"


class WholeEpisodesSource(ShardSource[Record]):
    """One shard of whole episodes.

    Parameters
    ----------
    path : Path
        The shard; any name.
    task : KnownTask
        What was recorded.
    gzipped : bool, default True
        Whether the shard is compressed.
    facts : mapping, optional
        More facts for ``source`` in the metadata.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or its first record is no such episode.
    """

    def __init__(
        self, path: Path, task: KnownTask, *, gzipped: bool = True, facts: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(path, task, gzipped=gzipped, facts=facts)
        self._layout = self.lay_out(self._shard.first())
        self._counters: Counter[str] = Counter()
        self._lengths: set[int] = set()
        self._num_rows = 0
        self._reward_sum = 0.0

    @abstractmethod
    def lay_out(self, record: Record) -> RowsLayout:
        """Find the shape of a row from the first record."""

    @abstractmethod
    def outcomes(self, record: Record) -> tuple[Array, Array]:
        """Return the rewards and discounts of a record's transitions, each of shape (T,)."""

    @property
    def spec(self) -> BufferSpec:
        """Episodes, with every column of the records."""
        columns = [column for column in self._layout.columns.values() if column.name != STEP_TYPES]
        space = {"type": "discrete", "n": self.task.num_actions} if self.task.num_actions else None
        return BufferSpec(
            layout="episodes",
            columns=[
                *(
                    ColumnSpec(column.name, column.dtype, column.shape, space if column.name == ACTIONS else None)
                    for column in columns
                ),
                ColumnSpec(TERMINALS, np.dtype(np.bool_)),
                ColumnSpec(TIMEOUTS, np.dtype(np.bool_)),
            ],
            episode_columns=self._layout.facts.values(),
        )

    def pieces(self) -> Iterator[Record]:
        """Yield the records that have a transition."""
        for record in self._shard.records():
            self._counters[_RECORDS] += 1
            rows = self._layout.num_rows(record)
            self._shard.require_room_for(rows, self._layout.image_bytes, record.where)
            self._lengths.add(rows)
            rewards, discounts = self.outcomes(record)
            if not len(rewards):
                self._counters[_EMPTY] += 1
                continue
            self.inner_terminals += int((discounts[:-1] == 0).sum())
            self._counters[_ZEROS] += int((discounts == 0).sum())
            self._num_rows += len(rewards)
            self._reward_sum += total_reward(rewards)
            self.look_at(record)
            yield record

    def look_at(self, record: Record) -> None:
        """Measure what else the records tell."""

    def tally(self) -> Tally:
        """Count records, their transitions and their rewards."""
        return Tally(self._counters[_RECORDS] - self._counters[_EMPTY], self._num_rows, self._reward_sum)

    def measurements(self) -> dict[str, Any]:
        """Return what was counted."""
        lengths = [min(self._lengths), max(self._lengths)] if self._lengths else []
        return {
            _RECORDS: self._counters[_RECORDS],
            "rows_in_a_record": lengths,
            _ZEROS: self._counters[_ZEROS],
        }

    def warnings(self) -> list[str]:
        """Say how the shard differs from what is documented."""
        found = [*super().warnings(), *self._layout.unlike(self.task)]
        known = self.task.num_rows
        others = sorted(self._lengths - {known})
        if known is not None and others:
            found.append(
                f"Every episode of {self.task.name} is documented to have {known:,} rows; some have "
                f"{', '.join(f'{count:,}' for count in others[:5])}. Those have no timeout, and episodes/whole is "
                "False unless they are terminal."
            )
        return found

    def left_out(self) -> list[str]:
        """Name what is not in the buffer."""
        texts = self._layout.left_out()
        if self._counters[_EMPTY]:
            texts.append(f"{self._counters[_EMPTY]:,} episodes of a single observation: they have no transition")
        return texts
