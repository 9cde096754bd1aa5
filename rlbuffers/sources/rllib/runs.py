"""Which rows of which batch belong to one episode.

Steps of several environments or agents may stand in turn: those of one have the same ``eps_id`` and agent. A flag, or a
step's number that does not grow, ends a run; an episode may go on in a later batch, or in another file.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["KEYS", "STEP", "Run", "RunFinder", "key_changes"]

Array = np.ndarray[Any, Any]
KEYS = ("eps_id", "agent_index", "agent_id", "env_id")
STEP = "t"


@dataclass(frozen=True)
class Run:
    """Rows `start` to `stop` of a batch, which go on with episode `number`."""

    number: int
    start: int
    stop: int


def key_columns(columns: Mapping[str, Array]) -> list[Array]:
    """Return the columns that name an episode."""
    return [columns[name] for name in KEYS if name in columns and columns[name].ndim == 1]


def key_changes(columns: Mapping[str, Array]) -> Array:
    """Return behind which rows another episode's stand, as far as its names tell: bool, shape (N - 1,)."""
    count = max(len(next(iter(columns.values()))) - 1, 0)
    changes = np.zeros(count, bool)
    for values in key_columns(columns):
        changes |= values[1:] != values[:-1]
    return changes


class RunFinder:
    """Numbers episodes in the order in which they begin; is given all batches, in order."""

    def __init__(self) -> None:
        self._open: dict[tuple[Any, ...], tuple[int, int | None]] = {}
        self._count = 0

    def runs_of(self, columns: Mapping[str, Array], ends: Array) -> Iterator[Run]:
        """Cut a batch.

        Parameters
        ----------
        columns : mapping of name to array of N rows
            Those of `KEYS` and `STEP` are looked at.
        ends : bool, shape (N,)
            Rows after which an episode ends.
        """
        keys = key_columns(columns)
        steps = columns.get(STEP)
        if steps is not None and (steps.ndim != 1 or steps.dtype.kind not in "iu"):
            steps = None
        cuts = ends[:-1] | key_changes(columns)
        if steps is not None:
            cuts |= steps[1:] <= steps[:-1]
        edges = [0, *(np.flatnonzero(cuts) + 1).tolist(), len(ends)] if len(ends) else []
        for start, stop in itertools.pairwise(edges):
            key = tuple(values[start].item() for values in keys)
            number, before = self._open.get(key, (self._count, None))
            if before is not None and steps is not None and steps[start] <= before:
                number = self._count
            self._count += number == self._count
            yield Run(number, start, stop)
            if ends[stop - 1]:
                self._open.pop(key, None)
            else:
                self._open[key] = (number, None if steps is None else int(steps[stop - 1]))
