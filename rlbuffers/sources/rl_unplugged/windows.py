"""RL Unplugged's shuffled windows of up to 40 steps (seq40), for agents with a memory.

A record of L steps is L - 1 transitions in order; see ``sequences.py`` for the format.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.episode import Episode
from rlbuffers.errors import FormatError
from rlbuffers.schema import ACTIONS, TERMINALS, TIMEOUTS, BufferSpec, is_observation
from rlbuffers.sources.rl_unplugged.rows import DISCOUNTS, FIRST_STEP, LAST_STEP, STEP_TYPES, RowsLayout
from rlbuffers.sources.rl_unplugged.sequences import (
    NEXT_ACTIONS,
    ONE_STEP,
    RECORDS,
    DiscountEnds,
    Ends,
    SequenceSource,
    rows_of,
    step_counts,
)
from rlbuffers.sources.rl_unplugged.shards import Record
from rlbuffers.sources.rl_unplugged.tasks import KnownTask
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["RLUWindowsSource", "Window", "WindowDecoder"]

_MAX_STEPS = 40


@dataclass(frozen=True)
class Window:
    """Rows of a record that follow one another within an episode."""

    record: Record
    start: int
    stop: int


@dataclass(frozen=True)
class WindowDecoder:
    """Turns a window of T + 1 steps into an episode of T transitions; runs in worker processes."""

    layout: RowsLayout
    ends: Ends

    def __call__(self, piece: Window) -> Episode:
        """Decode a window."""
        steps = {name: rows[piece.start : piece.stop] for name, rows in rows_of(self.layout, piece.record).items()}
        step_types = steps.pop(STEP_TYPES)
        columns = {name: rows[:-1] for name, rows in steps.items() if not is_observation(name)}
        columns[NEXT_ACTIONS] = steps[ACTIONS][1:]
        columns[DISCOUNTS], columns[TERMINALS], columns[TIMEOUTS] = self.ends(columns[DISCOUNTS], step_types[1:])
        observations = {name: rows for name, rows in steps.items() if is_observation(name)}
        reaches_end = columns[TERMINALS][-1] or columns[TIMEOUTS][-1]
        return Episode(columns, observations, whole=bool(step_types[0] == FIRST_STEP and reaches_end))


class RLUWindowsSource(SequenceSource[Window]):
    """One shard of shuffled, overlapping windows: each becomes an episode of its own.

    Parameters
    ----------
    path : Path
        The shard; any name.
    task : KnownTask
        What was recorded.
    facts : mapping, optional
        More facts for ``source`` in the metadata.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or its first record is no such sequence.
    """

    def __init__(self, path: Path, task: KnownTask, *, facts: Mapping[str, Any] | None = None) -> None:
        super().__init__(path, task, DiscountEnds(), facts=facts)
        self._windows = 0
        self._num_rows = 0
        self._longest = 0

    @property
    def spec(self) -> BufferSpec:
        """Episodes, which are windows."""
        return BufferSpec("episodes", self.step_columns())

    @property
    def decoder(self) -> WindowDecoder:
        """Decodes windows of this shard."""
        return WindowDecoder(self._layout, self._ends)

    def pieces(self) -> Iterator[Window]:
        """Yield the windows; a record is cut where it goes on into another episode."""
        for record in self._shard.records():
            num_rows = self._layout.num_rows(record)
            if num_rows > _MAX_STEPS:
                raise FormatError(
                    f"{record.where}: expected at most {_MAX_STEPS} steps, found {num_rows}; whole episodes are read "
                    "with --layout episodes"
                )
            step_types, rewards, discounts = (
                np.asarray(record.features[name]) for name in ("step_type", "reward", "discount")
            )
            self._counters[RECORDS] += 1
            self._counters += step_counts(step_types == FIRST_STEP, step_types == LAST_STEP, rewards, rewards)
            bounds = [0, *(np.flatnonzero(step_types[:-1] == LAST_STEP) + 1).tolist(), num_rows]
            for start, stop in itertools.pairwise(bounds):
                if stop - start < 2:
                    self._counters[ONE_STEP] += 1
                    continue
                self._windows += 1
                self._num_rows += stop - start - 1
                self._longest = max(self._longest, stop - start)
                self._reward_sum += total_reward(rewards[start : stop - 1])
                self.inner_terminals += int((discounts[start : stop - 2] == 0).sum())
                yield Window(record, start, stop)

    def tally(self) -> Tally:
        """Count the windows and what lies between their steps."""
        return Tally(self._windows, self._num_rows, self._reward_sum)

    def measurements(self) -> dict[str, Any]:
        """Return what was counted."""
        return {**super().measurements(), "most_steps_in_a_window": self._longest}

    def left_out(self) -> list[str]:
        """Name what is no transition."""
        return [*super().left_out(), "reward, discount and episodic reward of each window's last step"]

    def notes(self) -> list[str]:
        """Return how the rows were made."""
        return [
            "Each episode here is a window of an episode: L steps, L - 1 transitions. Windows are shuffled and overlap "
            "(up to 40 steps, about every 20 steps one), so most transitions occur twice, and the sum of a window's "
            "rewards is no return.",
            "episodes/whole is True only for a window that begins with its episode and reaches its end.",
            "Nothing was shifted: reward and discount of a step follow its action.",
            self._ends.note,
        ]
