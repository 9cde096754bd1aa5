"""The formula that observations are normalized by: in a new buffer, on the way into a batch, and in a policy.

A sensor may hardly vary around a large value. In single precision, rounding its mean alone would then move the
result by a good part of its spread. So differences are taken in double precision, and the result is rounded once: all
places give the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["NORM_EPSILON", "Standardization", "standardize"]

Array = np.ndarray[Any, Any]
NORM_EPSILON = 1e-3  # as published code of TD3+BC and CQL adds to the spread


@dataclass(frozen=True)
class Standardization:
    """``(x - mean) / (std + epsilon)``.

    Parameters
    ----------
    mean, std : float64 array of an observation's shape
        Of the observations.
    epsilon : float
        Keeps what hardly varies from growing.
    """

    mean: Array
    std: Array
    epsilon: float = NORM_EPSILON

    @property
    def divisor(self) -> Array:
        """Spread and epsilon, float64."""
        divisor: Array = self.std + self.epsilon
        return divisor

    def apply(self, values: Any, dtype: Any) -> Array:
        """Return values (..., *obs), rounded to `dtype`."""
        found: Array = standardize(np.asarray(values, np.float64), self.mean, self.divisor)
        return found.astype(dtype)

    def undo(self, standardized: Any) -> Array:
        """Return values (..., *obs) as they were before, float64, up to the rounding of `apply`."""
        found: Array = np.asarray(standardized, np.float64) * self.divisor + self.mean
        return found


def standardize(values: Any, mean: Any, divisor: Any) -> Any:
    """Return the formula's result for arrays, or tensors, of double precision."""
    return (values - mean) / divisor
