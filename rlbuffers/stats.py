"""One streaming pass over what is written: counts, ranges, mean and spread a column."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["ColumnStatistics", "quantiles", "summable", "total_reward"]

Array = np.ndarray[Any, Any]
_QUANTILES = {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1.0}


class ColumnStatistics:
    """Minimum, maximum, mean and standard deviation of each element of a row, fed in pieces.

    Pieces are merged by the update of Chan, Golub & LeVeque (1979), so the result does not depend
    on how the rows were cut. Values that are not finite are counted and left out.
    """

    def __init__(self) -> None:
        self._count: Any = 0
        self._mean: Any = 0.0
        self._squares: Any = 0.0
        self._low: Any = np.inf
        self._high: Any = -np.inf
        self._not_finite = 0

    def update(self, rows: Array) -> None:
        """Add the rows of a numeric column, shape (B, *row)."""
        if not len(rows):
            return
        values = rows.astype(np.float64)
        finite = np.isfinite(values)
        self._not_finite += int((~finite).sum())
        values = np.where(finite, values, 0.0)
        with np.errstate(over="ignore", invalid="ignore"):  # a sum too large for a float is stored as null
            self._merge(values, finite)
        self._low = np.minimum(self._low, np.where(finite, rows, np.inf).min(axis=0))
        self._high = np.maximum(self._high, np.where(finite, rows, -np.inf).max(axis=0))

    def _merge(self, values: Array, finite: Array) -> None:
        count = finite.sum(axis=0)
        mean = values.sum(axis=0) / np.maximum(count, 1)
        squares = np.where(finite, (values - mean) ** 2, 0.0).sum(axis=0)
        total = self._count + count
        delta = np.where(count > 0, mean - self._mean, 0.0)
        weight = count / np.maximum(total, 1)
        self._squares = self._squares + squares + delta**2 * self._count * weight
        self._mean = self._mean + delta * weight
        self._count = total

    def to_json(self) -> dict[str, Any]:
        """Return min, max, mean and std (population) as numbers or nested lists, or {} if nothing was fed."""
        if not np.any(self._count):
            return {}
        count = np.maximum(self._count, 1)
        described: dict[str, Any] = {
            "min": _finite_list(self._low),
            "max": _finite_list(self._high),
            "mean": _finite_list(self._mean),
            "std": _finite_list(np.sqrt(self._squares / count)),
        }
        if self._not_finite:
            described["not_finite"] = self._not_finite
        return described


def _finite_list(values: Any) -> Any:
    """Turn an array into JSON numbers; an element that was never finite becomes null."""
    array = np.asarray(values, dtype=np.float64)
    if np.isfinite(array).all():
        return array.tolist()
    objects = array.astype(object)
    objects[~np.isfinite(array)] = None
    return objects.tolist()


def total_reward(rewards: Array) -> float:
    """Sum rewards in double precision; the sum of rewards that are not finite is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.asarray(rewards, np.float64).sum())


def summable(rewards: Array) -> Array:
    """Return rewards in a dtype that holds their sums and fractions: float32 at least, and float64 where they are.

    Half precision ends at 65,504, and whole numbers have no halves.
    """
    return rewards if rewards.dtype.kind == "f" and rewards.itemsize >= 4 else rewards.astype(np.float32)


def quantiles(values: Array) -> dict[str, float | None]:
    """Return minimum, quartiles, maximum, mean and standard deviation of a non-empty 1-D array.

    What is too large for a float, as the square of a very large number, is None.
    """
    array = np.asarray(values, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        described = {name: float(np.quantile(array, at)) for name, at in _QUANTILES.items()}
        described |= {"mean": float(array.mean()), "std": float(array.std())}
    return {name: value if math.isfinite(value) else None for name, value in described.items()}
