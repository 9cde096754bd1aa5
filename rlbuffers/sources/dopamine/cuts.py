"""Where the episodes of a Dopamine replay log begin and end.

Dopamine stores three rows of zeros before the first frame of every episode, so that stacks can be
read off the log; they are no steps. It does so at the start of a log and after an episode's end, which
was a terminal only until 2021 (an episode cut by the step limit was stored as terminal, too), and since
then also an end by the step limit. A real step may be all zeros as well: a black screen, no action,
no reward. So three such rows are padding only where they can be: first in the log, after a terminal,
or right after as many steps as the limit allows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

__all__ = ["Cut", "CutCounts", "find_episodes"]

Array = np.ndarray[Any, Any]
_PADDING_ROWS = 3


@dataclass(frozen=True)
class Cut:
    """One episode in a run of rows.

    Parameters
    ----------
    start, stop : int
        Its rows, the padding not included.
    padding : int
        Rows of padding before `start`.
    begins : bool
        Whether its first step is there.
    end : {"terminal", "limit", "cut"}
        How it ends; ``cut`` if the log, or the part of it that was read, ends before.
    """

    start: int
    stop: int
    padding: int
    begins: bool
    end: Literal["terminal", "limit", "cut"]


def find_episodes(terminal: Array, zero: Array, *, from_start: bool, step_limit: int) -> Iterator[Cut]:
    """Cut rows that follow each other in time into episodes.

    Parameters
    ----------
    terminal : bool, shape (N,)
        Rows marked as terminal.
    zero : bool, shape (N,)
        Rows in which everything is 0: frame, action, reward and terminal.
    from_start : bool
        Whether row 0 is known, without padding, to be the first one that was ever stored.
    step_limit : int
        Steps after which an episode is cut without a terminal.

    Yields
    ------
    Cut
        In order; padding at the very end, whose episode is not there, belongs to none.
    """
    count = len(terminal)
    ends = np.flatnonzero(terminal)
    position = 0
    begins = from_start
    while position < count:
        # The first rows may be the rest of a padding that the file before began.
        padding = _padding_at(zero, position, may_be_cut=position == 0 and not from_start)
        begins = begins or padding == _PADDING_ROWS
        start = position + padding
        if start == count:
            return
        following = int(np.searchsorted(ends, start))
        is_terminal = following < len(ends)
        stop = int(ends[following]) + 1 if is_terminal else count
        end: Literal["terminal", "limit", "cut"] = "terminal" if is_terminal else "cut"
        limit = start + step_limit
        if begins and limit < stop and _padding_at(zero, limit):
            stop, end = limit, "limit"
        yield Cut(start, stop, padding, begins, end)
        position, begins = stop, True


def _padding_at(zero: Array, position: int, *, may_be_cut: bool = False) -> int:
    """Count the rows of padding at a place where there may be some; the end of the rows may cut it short."""
    rows = zero[position : position + _PADDING_ROWS]
    length = len(rows) if rows.all() else int(rows.argmin())
    is_whole = length == _PADDING_ROWS or position + length == len(zero)
    return length if is_whole or may_be_cut else 0


class CutCounts:
    """What is counted while rows are cut into episodes.

    Parameters
    ----------
    step_limit : int
        Steps after which an episode is cut without a terminal.

    Attributes
    ----------
    episodes, steps : int
        How many there are so far; padding is no step.
    """

    def __init__(self, step_limit: int) -> None:
        self._step_limit = step_limit
        self.episodes = 0
        self.steps = 0
        self._rows = 0
        self._padded = 0
        self._rebuilt = 0
        self._without_beginning = 0
        self._without_end = 0
        self._terminals_at_limit = 0
        self._zero_steps = 0
        self._suspicious_runs = 0

    def cuts_of(self, terminal: Array, zero: Array, *, from_start: bool) -> Iterator[Cut]:
        """Cut rows into episodes, as `find_episodes` does, and count."""
        self._rows += len(terminal)
        is_step = np.zeros(len(zero), bool)
        for cut in find_episodes(terminal, zero, from_start=from_start, step_limit=self._step_limit):
            is_step[cut.start : cut.stop] = True
            self._add(cut)
            yield cut
        self.steps += int(is_step.sum())
        self._zero_steps += int((zero & is_step).sum())
        self._suspicious_runs += _runs_like_padding(zero & is_step)

    def _add(self, cut: Cut) -> None:
        self.episodes += 1
        self._padded += int(cut.padding == _PADDING_ROWS)
        self._rebuilt += int(cut.end == "limit")
        self._without_beginning += int(not cut.begins)
        self._without_end += int(cut.end == "cut")
        self._terminals_at_limit += int(
            cut.end == "terminal" and cut.begins and cut.stop - cut.start == self._step_limit
        )

    def to_json(self) -> dict[str, Any]:
        """Return the counts, for the metadata's ``measurements``."""
        return {
            "padding_rows": self._rows - self.steps,
            "episodes_with_padding": self._padded,
            "episodes_without_padding": self.episodes - self._padded,
            "timeouts_rebuilt": self._rebuilt,
            "terminals_at_the_step_limit": self._terminals_at_limit,
            "episodes_without_beginning": self._without_beginning,
            "episodes_without_end": self._without_end,
            "steps_of_zeros": self._zero_steps,
        }

    def warnings(self) -> list[str]:
        """Say where the cuts may be wrong."""
        found = []
        if self._terminals_at_limit:
            found.append(
                f"{self._terminals_at_limit:,} episodes end with a terminal at step {self._step_limit:,}, the step "
                "limit. Dopamine stored such a cut as terminal when these logs were made; they are kept as stored."
            )
        if self._suspicious_runs:
            found.append(
                f"{self._suspicious_runs:,} times exactly {_PADDING_ROWS} rows of zeros stand inside an episode. They "
                "are kept as steps, but may be the padding of an episode after one that was cut without a terminal; "
                f"if episodes were cut after another number of steps than {self._step_limit:,}, say --step-limit."
            )
        return found


def _runs_like_padding(zero: Array) -> int:
    """Count the runs of exactly as many rows of zeros as a padding has."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], zero, [False]]).astype(np.int8)))
    return int((np.diff(edges)[::2] == _PADDING_ROWS).sum())
