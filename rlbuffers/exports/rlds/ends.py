"""How the episodes of a buffer end, in RLDS's words; ``dataset.py`` says what is done and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from rlbuffers.reader import Buffer
from rlbuffers.schema import EPISODE_FINAL_KNOWN, EPISODE_LENGTHS, EPISODE_STARTS, EPISODE_WHOLE, TERMINALS, TIMEOUTS

__all__ = ["FLAGS", "EpisodeEnds", "with_row"]

Array = np.ndarray[Any, Any]
FLAGS = ("is_first", "is_last", "is_terminal")
"""RLDS's flags of a step."""


class EpisodeEnds:
    """Where episodes begin and end, and how."""

    def __init__(self, buffer: Buffer) -> None:
        columns, arrays = buffer.spec.columns, buffer.arrays
        self.starts: Array = arrays[EPISODE_STARTS].all()
        self.stops: Array = self.starts + arrays[EPISODE_LENGTHS].all()
        self.final_known: Array = arrays[EPISODE_FINAL_KNOWN].all()
        self._whole: Array = arrays[EPISODE_WHOLE].all()
        absent = np.zeros(len(buffer), np.bool_)
        self._terminals: Array = arrays[TERMINALS].all() if TERMINALS in columns else absent
        self._timeouts: Array = arrays[TIMEOUTS].all() if TIMEOUTS in columns else absent
        ends = np.zeros(len(buffer), np.bool_)
        ends[self.stops - 1] = True
        # What a reader concludes from is_last and is_terminal.
        self._told = (self._terminals == (ends & self._terminals)) & (self._timeouts == (ends & ~self._terminals))
        self._ends_terminal: Array = self._terminals[self.stops - 1]

    @property
    def own_flags(self) -> tuple[str, ...]:
        """Step features that are written because RLDS's flags say less than the columns."""
        return () if self._told.all() else (TERMINALS, TIMEOUTS)

    @property
    def marks(self) -> tuple[str, ...]:
        """Episode features that are written because some episode needs them."""
        return (*([] if self.final_known.all() else ["final_known"]), *([] if self._whole.all() else ["whole"]))

    def has_appended_row(self, number: int) -> bool:
        """Whether a row follows the last transition."""
        return bool(self.final_known[number] or self._ends_terminal[number])

    def flags(self, number: int) -> dict[str, Array]:
        """Return RLDS's flags of one episode, and those beside them."""
        own = slice(int(self.starts[number]), int(self.stops[number]))
        count = own.stop - own.start + self.has_appended_row(number)
        flags = {f"steps/{name}": np.zeros(count, np.bool_) for name in FLAGS}
        flags["steps/is_first"][0] = True
        flags["steps/is_last"][-1] = True
        flags["steps/is_terminal"][-1] = self._ends_terminal[number]
        columns = {TERMINALS: self._terminals, TIMEOUTS: self._timeouts}
        for name in self.own_flags:
            flags[f"steps/{name}"] = with_row(columns[name][own], self.has_appended_row(number))
        marks = {"final_known": self.final_known, "whole": self._whole}
        return flags | {name: marks[name][number : number + 1] for name in self.marks}

    def discount(self, number: int) -> Array:
        """Return 1 where the episode goes on, 0 after a terminal and in an appended row."""
        own = slice(int(self.starts[number]), int(self.stops[number]))
        return with_row((~self._terminals[own]).astype(np.float32), self.has_appended_row(number))

    def left_out(self) -> Iterator[str]:
        """Say where last rows are not what RLDS says, and what its flags cannot tell."""
        unknown = ~self.final_known
        zeros = int((unknown & self._ends_terminal).sum())
        if zeros:
            yield f"the final observations of {zeros:,} terminal episodes, which are not known: zeros stand there"
        real = int((unknown & ~self._ends_terminal).sum())
        if real:
            yield (
                f"the final observations of {real:,} episodes without a terminal, which are not known: the last row, "
                "of which RLDS uses the observation only, is their last transition"
            )
        ends = np.add.reduceat(~self._told, self.starts) > 0
        untold = int((ends | ~self._whole).sum())
        if untold:
            yield (
                f"how {untold:,} episodes ended, in RLDS's own flags: they have no word for flags within an episode, "
                "a timeout at a terminal, or a recording that stopped. The features terminals, timeouts and whole do"
            )


def with_row(rows: Array, appended: bool, row: Array | None = None) -> Array:
    """Return `rows`, if told with one more at the end, zeros unless it is given."""
    if not appended:
        return rows
    return np.concatenate([rows, np.zeros((1, *rows.shape[1:]), rows.dtype) if row is None else row])
