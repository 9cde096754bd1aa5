"""Dividing a batch by shares, as evenly as whole numbers allow."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlbuffers.errors import UsageError

__all__ = ["checked_shares", "divided"]

Array = np.ndarray[Any, Any]


def checked_shares(weights: Any, what: str) -> Array:
    """Return weights that sum to 1, float64.

    Raises
    ------
    UsageError
        If one is negative or not finite, or none is positive.
    """
    given = np.asarray(weights, np.float64)
    if given.ndim != 1 or not np.isfinite(given).all() or (given < 0).any() or not given.any():
        raise UsageError(f"the {what} must be finite, none of them negative, and not all of them 0; got {weights}")
    shares: Array = given / given.sum()
    return shares


def divided(count: int, shares: Array, generator: np.random.Generator) -> Array:
    """Divide `count` by systematic sampling.

    Each part is its share of `count`, rounded up or down at random so that the mean is exact. One
    number is drawn whatever the shares are.

    Parameters
    ----------
    count : int
        Size of the batch.
    shares : float64, shape (K,)
        Sum to 1.
    generator : numpy.random.Generator
        Decides the rounding.

    Returns
    -------
    int64, shape (K,)
        Sum to `count`.
    """
    points = np.arange(count) + generator.random()
    upper = np.cumsum(shares) * count
    upper[np.flatnonzero(shares)[-1] :] = np.inf  # sums that round to less than all
    return np.bincount(np.searchsorted(upper, points, side="right"), minlength=len(shares))
