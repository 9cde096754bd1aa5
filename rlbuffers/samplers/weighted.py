"""Items in proportion to given weights, with replacement."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlbuffers.errors import UsageError
from rlbuffers.samplers.draws import Drawn, Draws
from rlbuffers.windows.items import Items

__all__ = ["WeightedDraws"]


class WeightedDraws(Draws):
    """Draws items independently, each with a probability proportional to its weight.

    Parameters
    ----------
    items : Items
        What may be chosen; of a fixed number.
    generator : numpy.random.Generator
        The only source of randomness.
    weights : float, shape (capacity,)
        Of each place. Finite, none negative; items with 0 are never drawn.

    Raises
    ------
    UsageError
        If a weight is negative or not finite, or none is positive.
    """

    kind = "weighted"

    def __init__(self, items: Items, generator: np.random.Generator, weights: np.ndarray[Any, Any]) -> None:
        super().__init__(items, generator)
        given = np.asarray(weights, np.float64)
        if not np.isfinite(given).all() or (given < 0).any() or not given.any():
            raise UsageError("weights must be finite, none of them negative, and not all of them 0")
        self._upper = np.cumsum(given / given.max())
        self._last = int(np.flatnonzero(given)[-1])

    def draw(self, count: int) -> Drawn:
        """Choose the items of the next batch."""
        points = self.generator.random(count) * self._upper[-1]
        places = np.searchsorted(self._upper, points, side="right")
        return Drawn(self.items.at(np.minimum(places, self._last)))  # a point may round up to the sum of all
