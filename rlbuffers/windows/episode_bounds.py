"""Where episodes begin and end, and where the task does."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from rlbuffers.errors import UnsupportedError
from rlbuffers.schema import EPISODE_LENGTHS, EPISODE_STARTS, TERMINALS
from rlbuffers.windows.base import Array, Indices

if TYPE_CHECKING:
    from rlbuffers.table import Table

__all__ = ["EpisodeBounds", "is_among", "unusable_rows"]

_ROWS_AT_ONCE = 1 << 20


def unusable_rows(buffer: Table) -> Indices:
    """Return the rows, ascending, that are not terminal and whose next observation is not known."""
    rows = buffer.rows_without_next
    if len(rows) and TERMINALS in buffer.spec.columns:
        rows = rows[~buffer.rows(rows, [TERMINALS])[TERMINALS]]
    return rows


def is_among(chosen: Indices, rows: Indices) -> Array:
    """Return whether each row is one of `chosen`, which ascend."""
    if not len(chosen):
        return np.zeros(rows.shape, np.bool_)
    found: Array = chosen[np.minimum(np.searchsorted(chosen, rows), len(chosen) - 1)] == rows
    return found


class EpisodeBounds:
    """The episodes of a buffer as runs of rows.

    An episode ends where it is stored to end. The *task* ends there too, and also at every terminal
    within an episode: in some mazes a terminal marks a goal from which play goes on (the metadata's
    ``terminals_end_episodes`` is then false). What follows such a row is no consequence that its
    value should hold, so sums of rewards stop there and nothing is bootstrapped, as one-step targets
    have it.

    Parameters
    ----------
    buffer : Table
        With layout ``episodes``.
    purpose : str
        What needs episodes, the beginning of the error's sentence.

    Raises
    ------
    UnsupportedError
        If the buffer holds independent transitions.
    """

    def __init__(self, buffer: Table, purpose: str) -> None:
        if buffer.spec.layout != "episodes":
            raise UnsupportedError(
                f"{buffer.path}: {purpose} need steps in time order; this buffer holds independent transitions (order: "
                f"{buffer.spec.order}). Sample single transitions, or convert the source with layout episodes"
            )
        self._buffer = buffer
        self.starts: Indices = buffer.arrays[EPISODE_STARTS].all()
        self.lengths: Indices = buffer.arrays[EPISODE_LENGTHS].all()

    def numbers_at(self, rows: Indices) -> Indices:
        """Return the number of the episode that holds each row."""
        return np.searchsorted(self.starts, rows, side="right") - 1

    @cached_property
    def terminal_rows(self) -> Indices:
        """Rows with a terminal, ascending."""
        if TERMINALS not in self._buffer.spec.columns:
            return np.empty(0, np.int64)
        flags = self._buffer.arrays[TERMINALS]
        found = [np.flatnonzero(block) + _ROWS_AT_ONCE * at for at, block in enumerate(flags.blocks(_ROWS_AT_ONCE))]
        return np.concatenate([np.empty(0, np.int64), *found])

    @cached_property
    def task_ends(self) -> Indices:
        """Rows with which an episode or the task ends, ascending."""
        return np.union1d(self.starts + self.lengths - 1, self.terminal_rows)

    def task_end_of(self, rows: Indices) -> Indices:
        """Return for each row the last row of its task: itself, or a later one of the same episode."""
        return self.task_ends[np.searchsorted(self.task_ends, rows)]

    def is_terminal(self, rows: Indices) -> Array:
        """Return whether the task ended with each row by a terminal, bool."""
        return is_among(self.terminal_rows, rows)
