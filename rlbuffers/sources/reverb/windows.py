"""Items of several steps: each becomes an episode of the buffer, or several.

An item is what its writer chose: a window of an episode, or all of it. Of its observations there is one more than of
its rewards, or as many; then what was observed after the last action is not known. Some writers (Acme's adders for
one) append a step for an episode's last observation, whose action, reward and discount are zeros, and fill windows up
with more of these. Such void steps are no transitions: the first one after an end gives the last observation.

Nothing is taken across an end: what follows it is void, or another episode.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from rlbuffers.episode import Episode
from rlbuffers.schema import ACTIONS, REWARDS, TERMINALS, TIMEOUTS, next_name
from rlbuffers.sources.field_names import DISCOUNTS
from rlbuffers.sources.flat_columns import cut_episodes
from rlbuffers.sources.flat_ends import unmarked_resets

__all__ = ["DOUBTFUL", "RESETS", "VOID", "Window", "cut_window"]

Array = np.ndarray[Any, Any]
VOID, DOUBTFUL, RESETS = "void_steps", "steps_that_end_and_are_all_zero", "unmarked_resets"


@dataclass(frozen=True)
class Window:
    """The rows of an item.

    Parameters
    ----------
    columns : mapping of name to array of L rows
        Flags included; next observations only if the table has them.
    observations : mapping of name to array of L or L + 1 rows
        One more if the item has what was observed after its last action.
    cuts : sequence of int
        Rows of the observations from which on another episode of the writer begins.
    facts : mapping of name to value
        What the item has once.
    begins : bool
        Whether its first row is an episode's first.
    terminals_are_discounts : bool
        Whether the terminals are no column of the table, but where the discounts are 0.
    """

    columns: Mapping[str, Array]
    observations: Mapping[str, Array]
    cuts: Sequence[int]
    facts: Mapping[str, Any]
    begins: bool
    terminals_are_discounts: bool

    def __len__(self) -> int:
        return len(self.columns[REWARDS])

    def ends(self) -> Array:
        """Return after which rows an episode ends: bool, shape (L,)."""
        ends: Array = np.logical_or.reduce(
            [self.columns[name] for name in (TERMINALS, TIMEOUTS) if name in self.columns]
        )
        return ends


def cut_window(window: Window, counters: Counter[str]) -> Iterator[Episode]:
    """Yield the episodes that a window holds, in order; what is counted is added to `counters`."""
    begins = window.begins
    cut = _cut_transitions if any(next_name(name) in window.columns for name in window.observations) else _cut_steps
    for start, stop in pairwise([0, *(row for row in window.cuts if row < len(window)), len(window)]):
        has_last = stop == len(window) and stop not in window.cuts
        part = replace(
            window,
            columns={name: rows[start:stop] for name, rows in window.columns.items()},
            observations={name: rows[start : stop + has_last] for name, rows in window.observations.items()},
            begins=begins,
        )
        yield from cut(part, counters)
        begins = True


def _cut_transitions(window: Window, counters: Counter[str]) -> Iterator[Episode]:
    """Every row has its own next observation."""
    columns = {**window.columns, **{name: rows[: len(window)] for name, rows in window.observations.items()}}
    ends = window.ends()
    resets = unmarked_resets(columns, ends)
    counters[RESETS] += int(resets.sum())
    begins = window.begins
    for episode in cut_episodes(columns, ends | resets, facts=window.facts):
        yield replace(episode, whole=episode.whole and begins)
        begins = True


def _cut_steps(window: Window, counters: Counter[str]) -> Iterator[Episode]:
    """A row's next observation is that of the following row."""
    void, is_certain = _void_steps(window)
    ends = window.ends() & ~void if is_certain else window.ends()
    start, begins = 0, window.begins
    while start < len(window):
        stops = np.flatnonzero(ends[start:] | (void[start:] & is_certain))
        stop = start + int(stops[0]) if len(stops) else len(window)
        is_end = stop < len(window) and bool(ends[stop])
        if is_end and void[stop]:
            counters[DOUBTFUL] += 1
        after = stop + is_end
        has_last = (after < len(window) and bool(void[after])) or after == len(window)
        if after > start:
            columns = {name: rows[start:after] for name, rows in window.columns.items()}
            observations = {name: rows[start : after + has_last] for name, rows in window.observations.items()}
            yield Episode(columns, observations, window.facts, whole=begins and is_end)
        start, begins = after, True
        while start < len(window) and void[start]:
            counters[VOID] += 1
            start += 1


def _void_steps(window: Window) -> tuple[Array, bool]:
    """Find steps whose action, reward and discount are zero: bool, shape (L,), and whether such a step is void.

    Where only the discount tells terminals, it may also be a terminal step with the discrete action 0.
    """
    discounts, actions = window.columns.get(DISCOUNTS), window.columns[ACTIONS]
    if discounts is None:
        return np.zeros(len(window), np.bool_), True
    void: Array = (discounts == 0) & (window.columns[REWARDS] == 0)
    void &= ~actions.any(axis=tuple(range(1, actions.ndim)))
    if not window.terminals_are_discounts:
        return void & ~window.ends(), True
    return void, actions.dtype.kind == "f"
