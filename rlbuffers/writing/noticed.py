"""What is noticed of a buffer's content while it is written, for `rlbuffers.remarks` to say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rlbuffers.remarks import equal_ends
from rlbuffers.schema import EPISODE_RETURNS, TERMINALS, TIMEOUTS, BufferSpec, stored_arrays

__all__ = ["NotFinite", "Noticed"]

Array = np.ndarray[Any, Any]


class NotFinite:
    """Counts NaN and infinite values in the rows of an array, fed in order."""

    def __init__(self) -> None:
        self._num_rows = 0
        self._values = 0
        self._rows = 0
        self._first_row: int | None = None

    def update(self, rows: Array) -> None:
        """Look at the next rows of an array of floats, shape (B, *row)."""
        finite = np.isfinite(rows)
        if not finite.all():
            bad = ~finite.reshape(len(rows), -1)
            places = np.flatnonzero(bad.any(axis=1))
            self._values += int(np.count_nonzero(bad))
            self._rows += len(places)
            if self._first_row is None:
                self._first_row = self._num_rows + int(places[0])
        self._num_rows += len(rows)

    def counts(self) -> dict[str, int] | None:
        """Return ``values``, ``rows`` and ``first_row``, or None where all is finite."""
        if self._first_row is None:
            return None
        return {"values": self._values, "rows": self._rows, "first_row": self._first_row}


class Noticed:
    """Looks at all floats for values that are not finite, and at how episodes end.

    Parameters
    ----------
    spec : BufferSpec
        Of the buffer that is written.
    """

    def __init__(self, spec: BufferSpec) -> None:
        self._not_finite = {
            name: NotFinite()
            for name, array in stored_arrays(spec).items()
            if array.dtype.kind == "f" and name != EPISODE_RETURNS
        }
        self._has_terminals = TERMINALS in spec.columns
        self._ended: list[bool] = []
        self._inside = False
        self._by_timeout = False

    def observer_of(self, name: str) -> Callable[[Array], None] | None:
        """Return what is to be called with the rows of a stored array, or None if it holds no floats."""
        return self._not_finite[name].update if name in self._not_finite else None

    def add_episodes(self, rows: Mapping[str, Array], lengths: Array) -> None:
        """Look at the flags of the next episodes.

        Parameters
        ----------
        rows : mapping of str to array
            Columns of the buffer, one entry a step.
        lengths : int, shape (E,)
            Steps of each episode.
        """
        if not self._has_terminals:
            return
        terminals = rows[TERMINALS].astype(np.bool_)
        ended = terminals[np.cumsum(lengths) - 1]
        self._ended.extend(ended.tolist())
        self._inside |= np.count_nonzero(terminals) > np.count_nonzero(ended)
        if TIMEOUTS in rows:
            self._by_timeout |= bool((rows[TIMEOUTS].astype(np.bool_) & ~terminals).any())

    def to_json(self, lengths: list[int], whole: list[bool]) -> dict[str, Any]:
        """Return what was noticed as JSON values.

        Parameters
        ----------
        lengths : list of int
            Steps of each episode.
        whole : list of bool
            Whether each was recorded from beginning to end.
        """
        counted = {name: found.counts() for name, found in self._not_finite.items()}
        noticed: dict[str, Any] = {"not_finite": {name: counts for name, counts in counted.items() if counts}}
        if self._has_terminals and lengths:
            ended, whole_episodes = np.array(self._ended, bool), np.array(whole, bool)
            ends = equal_ends(
                np.array(lengths), ended, whole_episodes, inside=self._inside, by_timeout=self._by_timeout
            )
            noticed |= {"equal_ends": ends} if ends else {}
        return noticed
