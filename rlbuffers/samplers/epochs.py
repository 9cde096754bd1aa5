"""Without replacement: every item once an epoch, in a new random order each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from rlbuffers.errors import UsageError
from rlbuffers.samplers.draws import Drawn, Draws, whole_number
from rlbuffers.samplers.permutation import Permutation
from rlbuffers.windows.items import Items

__all__ = ["EpochDraws", "Order"]

Indices = np.ndarray[Any, np.dtype[np.int64]]
_PLACES_AT_ONCE = 4096


class Order(Protocol):
    """An order of the places of one epoch."""

    def at(self, start: int, stop: int) -> Indices:
        """Return the places at positions `start` to `stop`, exclusive, int64."""


class EpochDraws(Draws):
    """Goes through all items in random order, again and again.

    A batch never holds items of two epochs: the last one of an epoch is smaller if the batch size does
    not divide their number.

    Parameters
    ----------
    items : Items
        What may be chosen; of a fixed number.
    generator : numpy.random.Generator
        Chooses the order of each epoch.
    drop_last : bool, default False
        Whether a smaller last batch is left out.
    """

    kind = "epochs"

    def __init__(self, items: Items, generator: np.random.Generator, *, drop_last: bool = False) -> None:
        super().__init__(items, generator)
        self._drop_last = drop_last
        self._key: int | None = None
        self._position = 0
        self._places = np.empty(0, np.int64)
        self._places_from = 0
        self._order: Order | None = None

    def new_order(self, key: int) -> Order:
        """Return the order of an epoch."""
        return Permutation(self.items.capacity, key)

    def draw(self, count: int) -> Drawn:
        """Choose the items of the next batch."""
        total = self.items.capacity
        if self._drop_last and count > total:
            raise UsageError(f"an epoch of {total:,} items holds no batch of {count:,}; choose a smaller batch_size")
        if self._order is None:
            self._begin(int(self.generator.integers(2**63)), 0)
        stop = min(self._position + count, total)
        places = self._places_at(self._position, stop)
        left = total - stop
        ends_epoch = left == 0 or (self._drop_last and left < count)
        self._position = stop
        if ends_epoch:
            self._order = self._key = None
            self._position = 0
        return Drawn(self.items.at(places), ends_epoch=ends_epoch)

    def _begin(self, key: int, position: int) -> None:
        self._key = key
        self._order = self.new_order(key)
        self._position = position
        self._places, self._places_from = np.empty(0, np.int64), 0

    def _places_at(self, start: int, stop: int) -> Indices:
        """Return places of the order, of which many are computed at once."""
        end = self._places_from + len(self._places)
        if start < self._places_from or stop > end:
            if self._order is None:
                raise UsageError("no epoch has begun")
            end = min(max(stop, start + _PLACES_AT_ONCE), self.items.capacity)
            self._places, self._places_from = self._order.at(start, end), start
        return self._places[start - self._places_from : stop - self._places_from]

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {**super().state_dict(), "epoch_key": self._key, "position": self._position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the state was taken."""
        position = whole_number(state, "position", self.items.capacity)
        key = None if state.get("epoch_key") is None else whole_number(state, "epoch_key", 2**63)
        super().load_state_dict(state)
        self._order, self._key, self._position = None, None, 0
        if key is not None:
            self._begin(key, position)
