"""Sums or minima over many numbers that change a few at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["ReductionTree"]

Array = np.ndarray[Any, Any]
Indices = np.ndarray[Any, np.dtype[np.int64]]
_FAN_OUT = 16


class ReductionTree:
    """A tree whose nodes hold the sum (or minimum) of their children; the leaves are the numbers.

    The sum tree of prioritized replay (Schaul et al. 2016), with 16 children a node in place of two:
    NumPy's cost is by the call, and so 5 million leaves are 6 levels, not 23. A node is always computed
    from its children, so that rounding errors do not add up over updates.

    Parameters
    ----------
    size : int
        Number of leaves, at least 1.
    reduce : numpy.ufunc
        ``numpy.add`` or ``numpy.minimum``.
    neutral : float
        Value of a leaf that was never set: 0 or infinity.
    """

    def __init__(self, size: int, reduce: np.ufunc, neutral: float) -> None:
        self.size = size
        self._reduce = reduce
        self._levels: list[Array] = []  # leaves first, each padded to whole nodes
        count = size
        while True:
            nodes = -(-count // _FAN_OUT)
            self._levels.append(np.full((nodes, _FAN_OUT), neutral))
            if nodes == 1:
                break
            count = nodes

    @property
    def leaves(self) -> Array:
        """The numbers, float64, shape (size,); a view."""
        return self._levels[0].reshape(-1)[: self.size]

    @property
    def root(self) -> float:
        """Sum or minimum of all."""
        return float(self._reduce.reduce(self._levels[-1][0]))

    def set(self, places: Indices, values: Any) -> None:
        """Set leaves; of a place that occurs twice the last value counts."""
        self._levels[0].reshape(-1)[places] = values
        for below, above in zip(self._levels, self._levels[1:], strict=False):
            places = np.unique(places // _FAN_OUT)
            above.reshape(-1)[places] = self._reduce.reduce(below[places], axis=1)

    def find(self, points: Array) -> Indices:
        """Return for each point the leaf up to which the numbers sum to more than it.

        Parameters
        ----------
        points : float64, shape (B,)
            In [0, root). Only for sums of numbers that are not negative.

        Returns
        -------
        int64, shape (B,)
            Never a leaf of 0.
        """
        nodes = np.zeros(len(points), np.int64)
        points = points[:, None]
        for level in reversed(self._levels):
            children = level[nodes]  # (B, 16)
            upper = np.cumsum(children, axis=1)
            # Differences of sums round: a point may be at the upper end of the last child that is not 0.
            last = _FAN_OUT - 1 - np.argmax(children[:, ::-1] > 0, axis=1)
            chosen = np.minimum((points >= upper).sum(axis=1), last)
            below = np.where(chosen > 0, np.take_along_axis(upper, np.maximum(chosen - 1, 0)[:, None], 1)[:, 0], 0.0)
            points = points - below[:, None]
            nodes = nodes * _FAN_OUT + chosen
        return nodes
