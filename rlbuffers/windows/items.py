"""What a sampler draws from: rows or episodes, numbered from 0 without gaps."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np

from rlbuffers.errors import UsageError

__all__ = ["FixedItems", "ItemKind", "Items"]

Indices = np.ndarray[Any, np.dtype[np.int64]]
ItemKind = Literal["rows", "episodes"]


class Items(Protocol):
    """What may be drawn, at places `first` to `last`, exclusive.

    In a finished buffer these bounds never change. In a ring that is appended to, both grow: `last`
    with what is added, `first` with what is forgotten.

    Attributes
    ----------
    kind : {"rows", "episodes"}
        What an item is.
    capacity : int
        How many there can be at once.
    """

    kind: ItemKind
    capacity: int

    @property
    def bounds(self) -> tuple[int, int]:
        """First place, and one past the last."""

    def at(self, places: Indices) -> Indices:
        """Return the items at these places, int64, shape (B,)."""

    def places_of(self, items: Indices) -> Indices:
        """Return the places of these items; the reverse of :meth:`at`."""


class FixedItems:
    """Items of a finished buffer.

    Parameters
    ----------
    kind : {"rows", "episodes"}
        What an item is.
    count : int
        How many the buffer has.
    left_out : int64, ascending, optional
        Those that must not be drawn.

    Raises
    ------
    UsageError
        If none is left.
    """

    def __init__(self, kind: ItemKind, count: int, left_out: Indices | None = None) -> None:
        self.kind: ItemKind = kind
        self.capacity = count - (0 if left_out is None else len(left_out))
        if self.capacity < 1:
            raise UsageError("no transition is terminal or has a next observation; there is nothing to draw")
        # Most buffers leave nothing out, and then need no table.
        self._table = None if left_out is None or not len(left_out) else np.delete(np.arange(count), left_out)

    @property
    def bounds(self) -> tuple[int, int]:
        """First place, and one past the last."""
        return 0, self.capacity

    def at(self, places: Indices) -> Indices:
        """Return the items at these places."""
        return places if self._table is None else self._table[places]

    def places_of(self, items: Indices) -> Indices:
        """Return the places of these items.

        Raises
        ------
        UsageError
            If one of them cannot be drawn.
        """
        if self._table is None:
            wrong = (items < 0) | (items >= self.capacity)
            places = items
        else:
            places = np.searchsorted(self._table, items)
            wrong = self._table[np.minimum(places, len(self._table) - 1)] != items
        if wrong.any():
            raise UsageError(f"{self.kind.removesuffix('s')} {int(items[wrong][0])} is none that this sampler draws")
        return places
