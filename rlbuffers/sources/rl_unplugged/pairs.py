"""RL Unplugged's shuffled pairs of steps: control suite and locomotion (seq2), and bsuite.

A record of two steps is one transition, with the action after it; see ``sequences.py`` for the
format. The publisher's readers speak of "one or two" steps; a single one is left out and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.decoding.example_proto import Feature, ParsedExamples, parse_examples
from rlbuffers.decoding.tfrecord import RecordBatch
from rlbuffers.episode import Transitions
from rlbuffers.errors import FormatError
from rlbuffers.schema import ACTIONS, REWARDS, TERMINALS, TIMEOUTS, BufferSpec, ColumnSpec, is_observation, next_name
from rlbuffers.sources.base import Rows
from rlbuffers.sources.rl_unplugged.rows import (
    CAMERA_SHAPE,
    DISCOUNTS,
    FIRST_STEP,
    LAST_STEP,
    STEP_TYPES,
    RowsLayout,
    raw_images,
)
from rlbuffers.sources.rl_unplugged.sequences import (
    AFTER_LAST,
    NEXT_ACTIONS,
    ONE_STEP,
    RECORDS,
    DiscountEnds,
    Ends,
    SequenceSource,
    rows_of,
    step_counts,
)
from rlbuffers.sources.rl_unplugged.shards import parsed_records
from rlbuffers.sources.rl_unplugged.tasks import KnownTask
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["PairDecoder", "RLUPairsSource"]

Array = np.ndarray[Any, Any]
_BATCH_BYTES = 4 << 20
_MAX_BATCH_RECORDS = 4096
_CHANGED = "discounts_set_to_zero"


@dataclass(frozen=True)
class PairDecoder:
    """Turns a batch of records of two steps into transitions; runs in worker processes.

    Parameters
    ----------
    where : str
        Name of the shard, for messages.
    layout : RowsLayout
        What the records look like.
    ends : Ends
        Tells where episodes end.
    joined : frozenset of str
        Features that have all images of a record in one value.
    """

    where: str
    layout: RowsLayout
    ends: Ends
    joined: frozenset[str] = frozenset()

    def __call__(self, piece: RecordBatch) -> Transitions:
        """Verify, parse and decode a batch."""
        piece.verify(self.where)
        counters: Counter[str] = Counter({RECORDS: len(piece)})
        try:
            steps = self._fast(piece)
        except FormatError:  # a record of one step, or one that is wrong: the slow way tells which
            steps = self._slow(piece, counters)
        step_types = steps.pop(STEP_TYPES)
        rewards = steps[REWARDS]
        counters += step_counts(
            step_types[:, 0] == FIRST_STEP, step_types[:, 1] == LAST_STEP, rewards[:, 0], rewards[:, 1]
        )
        kept = step_types[:, 0] != LAST_STEP
        counters[AFTER_LAST] += int((~kept).sum())
        if not kept.all():
            steps, step_types = {name: rows[kept] for name, rows in steps.items()}, step_types[kept]
        columns: dict[str, Array] = {name: rows[:, 0] for name, rows in steps.items()}
        columns.update({next_name(name): rows[:, 1] for name, rows in steps.items() if is_observation(name)})
        columns[NEXT_ACTIONS] = steps[ACTIONS][:, 1]
        discounts, columns[TERMINALS], columns[TIMEOUTS] = self.ends(columns[DISCOUNTS], step_types[:, 1])
        counters[_CHANGED] += int((discounts != columns[DISCOUNTS]).sum())
        columns[DISCOUNTS] = discounts
        return Transitions(
            {name: np.ascontiguousarray(rows) for name, rows in columns.items()}, counters=dict(counters)
        )

    def _fast(self, piece: RecordBatch) -> dict[str, Array]:
        """Parse a batch of records that all have two steps: (B, 2, *row) by column."""
        layout = self.layout
        features = [Feature(name, layout.kind(name), self._num_values(name)) for name in layout.columns]
        parsed = parse_examples(piece, features, self.where)
        if (parsed.unknown != len(layout.ignored) + len(layout.empty)).any():
            raise FormatError(f"{self.where}: records differ in their features")
        return {
            column.name: self._images(piece, parsed, name)
            if layout.kind(name) == "bytes"
            else parsed.values[name].reshape(len(piece), 2, *column.shape)
            for name, column in layout.columns.items()
        }

    def _num_values(self, feature: str) -> int:
        """Return how many values two steps have; images may be in one."""
        return 1 if feature in self.joined else 2 * self.layout.values_in_row(feature)

    def _images(self, piece: RecordBatch, parsed: ParsedExamples, feature: str) -> Array:
        offsets, sizes = parsed.offsets[feature].ravel().tolist(), parsed.lengths[feature].ravel().tolist()
        files = [piece.data[start : start + size] for start, size in zip(offsets, sizes, strict=True)]
        return raw_images(files, self.where).reshape(len(piece), 2, *CAMERA_SHAPE)

    def _slow(self, piece: RecordBatch, counters: Counter[str]) -> dict[str, Array]:
        """Parse the records one by one, and leave out those of one step."""
        kept: list[dict[str, Array]] = []
        for record in parsed_records(piece, self.where):
            num_rows = self.layout.num_rows(record)
            if num_rows not in (1, 2):
                raise FormatError(
                    f"{record.where}: expected 1 or 2 steps, found {num_rows}; whole episodes are read with "
                    "--layout episodes"
                )
            if num_rows == 1:
                counters[ONE_STEP] += 1
            else:
                kept.append(rows_of(self.layout, record))
        return {
            column.name: np.array([rows[column.name] for rows in kept], column.dtype).reshape(
                len(kept), 2, *column.shape
            )
            for column in self.layout.columns.values()
        }


class RLUPairsSource(SequenceSource[RecordBatch]):
    """One shard of shuffled pairs of steps: a transition each.

    Parameters
    ----------
    path : Path
        The shard; any name.
    task : KnownTask
        What was recorded.
    ends : Ends, optional
        How ends of episodes are told; `LastStepEnds` for bsuite.
    facts : mapping, optional
        More facts for ``source`` in the metadata.
    limit : int, optional
        Read only the first records.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or its first record is no such sequence.
    """

    def __init__(
        self,
        path: Path,
        task: KnownTask,
        ends: Ends | None = None,
        *,
        facts: Mapping[str, Any] | None = None,
        limit: int | None = None,
    ) -> None:
        super().__init__(path, task, ends or DiscountEnds(), facts=facts)
        self._limit = limit

    @property
    def spec(self) -> BufferSpec:
        """Transitions in shuffled order."""
        following = [
            ColumnSpec(next_name(column.name), column.dtype, column.shape) for column in self._layout.observations
        ]
        return BufferSpec("transitions", [*self.step_columns(), *following], order="shuffled")

    @property
    def decoder(self) -> PairDecoder:
        """Decodes records of this shard."""
        joined = frozenset(
            name
            for name in self._layout.columns
            if self._layout.kind(name) == "bytes" and len(self._first.features[name]) == 1
        )
        return PairDecoder(self.where, self._layout, self._ends, joined)

    def pieces(self) -> Iterator[RecordBatch]:
        """Yield batches of records, of some megabytes."""
        count = min(max(_BATCH_BYTES // max(self._first.num_bytes, 1), 1), _MAX_BATCH_RECORDS)
        yield from self._shard.batches(count, self._limit)

    def observe(self, rows: Rows) -> None:
        """Count."""
        if isinstance(rows, Transitions):
            self._counters.update(rows.counters)
            self._reward_sum += total_reward(rows.columns[REWARDS])

    def tally(self) -> Tally:
        """Count the records, without those that were left out, and their rewards."""
        counters = self._counters
        return Tally(None, counters[RECORDS] - counters[ONE_STEP] - counters[AFTER_LAST], self._reward_sum)

    def measurements(self) -> dict[str, Any]:
        """Return what was counted."""
        changed = self._counters[_CHANGED]
        return {**super().measurements(), **({_CHANGED: changed} if changed else {})}

    def left_out(self) -> list[str]:
        """Name what is no transition."""
        limited = self._limit is not None and self._counters[RECORDS] == self._limit
        return [
            *super().left_out(),
            "reward, discount and episodic reward of each record's second step (those of another transition), and "
            "whether a step is its episode's first",
            *([f"records after the first {self._limit:,}, if there are more (--limit)"] if limited else []),
        ]

    def notes(self) -> list[str]:
        """Return how the rows were made."""
        return [
            "Rows are shuffled; neighbours in the file are not neighbours in time.",
            "Nothing was shifted: reward and discount of a record's first step follow its action.",
            self._ends.note,
        ]
