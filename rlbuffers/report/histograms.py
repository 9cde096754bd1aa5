"""Histograms of columns that do not fit into RAM: fed in blocks, exact, in memory that does not grow with the rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Histogram", "Ranges", "column_histograms", "histogram", "nice_edges", "scan"]

Array = np.ndarray[Any, Any]
Blocks = Callable[[], Iterable[Array]]
_MAX_DISTINCT = 24
_MAX_WHOLE_SPAN = 40
_OFTEN = 50
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Histogram:
    """Counts of values.

    Parameters
    ----------
    counts : int64, shape (K,)
        How often.
    edges : float64, shape (K + 1,), or None
        Bounds of the bins; the last bin holds its upper bound too. None where single values are counted.
    values : float64, shape (K,), or None
        The single values, ascending.
    not_finite : int
        NaN and infinities, which are in no bin.
    """

    counts: Array
    edges: Array | None = None
    values: Array | None = None
    not_finite: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the histogram as JSON values."""
        places = {"edges": self.edges} if self.values is None else {"values": self.values}
        plain = {name: numbers.tolist() for name, numbers in places.items() if numbers is not None}
        return {"counts": self.counts.tolist(), "notFinite": self.not_finite, **plain}


@dataclass(frozen=True)
class Ranges:
    """What a first look at a column of D elements a row finds.

    Parameters
    ----------
    low, high : float64, shape (D,)
        Of the finite values; infinite the wrong way round where there are none.
    distinct : float64, shape (K,), or None
        The different finite values of all elements, or None if there are many.
    num_rows : int
        How many rows there are.
    """

    low: Array
    high: Array
    distinct: Array | None
    num_rows: int

    @property
    def has_few_values(self) -> bool:
        """Whether single values tell more than bins: whole numbers close together, or each one many times over."""
        if self.distinct is None or not len(self.distinct):
            return False
        span = float(self.distinct[-1] - self.distinct[0])
        is_whole = bool((self.distinct == np.rint(self.distinct)).all())
        return (is_whole and span <= _MAX_WHOLE_SPAN) or self.num_rows >= _OFTEN * len(self.distinct)


def scan(blocks: Iterable[Array]) -> Ranges | None:
    """Look at all rows once; None if there are no rows."""
    low: Any = None
    high: Any = None
    distinct: Array | None = np.empty(0)
    num_rows = 0
    for block in blocks:
        rows = _flat(block)
        num_rows += len(rows)
        finite = np.isfinite(rows)
        lows = np.where(finite, rows, np.inf).min(axis=0)
        highs = np.where(finite, rows, -np.inf).max(axis=0)
        low = lows if low is None else np.minimum(low, lows)
        high = highs if high is None else np.maximum(high, highs)
        if distinct is not None:
            distinct = np.union1d(distinct, rows[finite])
            distinct = None if len(distinct) > _MAX_DISTINCT else distinct
    return None if low is None else Ranges(low, high, distinct, num_rows)


def histogram(blocks: Blocks, bins: int = 40) -> Histogram | None:
    """Count the values of a column of one number a row: each value apart if there are few, otherwise in round bins.

    Parameters
    ----------
    blocks : callable
        Returns the rows from the beginning, in blocks; called twice.
    bins : int, default 40
        About how many.
    """
    ranges = scan(blocks())
    if ranges is None:
        return None
    if ranges.distinct is not None and ranges.has_few_values:
        values = ranges.distinct
        counts, not_finite = np.zeros(len(values), np.int64), 0
        for block in blocks():
            rows = _flat(block).ravel()
            finite = rows[np.isfinite(rows)]
            not_finite += len(rows) - len(finite)
            counts += np.bincount(np.searchsorted(values, finite), minlength=len(values))
        return Histogram(counts, values=values, not_finite=not_finite)
    edges = nice_edges(float(ranges.low.min()), float(ranges.high.max()), bins)
    return _counted(blocks(), edges[:1], edges[-1:], len(edges) - 1, edges)[0]


def column_histograms(blocks: Iterable[Array], low: Array, high: Array, bins: int = 40) -> list[Histogram]:
    """Count each element of a row in `bins` bins of its own between `low` and `high`, shape (D,), in one pass."""
    return _counted(blocks, low, high, bins, None)


def _counted(blocks: Iterable[Array], low: Array, high: Array, bins: int, edges: Array | None) -> list[Histogram]:
    size = len(low)
    counts = np.zeros((size, bins), np.int64)
    not_finite = np.zeros(size, np.int64)
    bounds = [_bounds(float(low[at]), float(high[at])) for at in range(size)]
    for block in blocks:
        rows = _flat(block)
        for at, (first, last) in enumerate(bounds):
            values = rows[:, at]
            finite = values[np.isfinite(values)]
            not_finite[at] += len(values) - len(finite)
            counts[at] += np.histogram(finite, bins=bins, range=(first, last))[0]
    return [
        Histogram(counts[at], np.linspace(*bounds[at], bins + 1) if edges is None else edges, None, int(not_finite[at]))
        for at in range(size)
    ]


def _bounds(low: float, high: float) -> tuple[float, float]:
    """Return bounds that are finite and not equal."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return 0.0, 1.0
    if low == high:
        return low - 0.5, high + 0.5
    return low, high


def nice_edges(low: float, high: float, bins: int) -> Array:
    """Return edges at round numbers that enclose both ends, with about `bins` bins between them."""
    low, high = _bounds(low, high)
    rough = (high - low) / bins
    if rough <= abs(high) * 1e-12:  # too narrow for round numbers in a float
        return np.linspace(low, high, bins + 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in _STEPS if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step), math.ceil(high / step)
    return np.arange(first, max(last, first + 1) + 1) * step


def _flat(block: Array) -> Array:
    """Return rows of D numbers as float64, or float32 if that is what they are."""
    rows = block.reshape(len(block), -1)
    return rows if rows.dtype in (np.float32, np.float64) else rows.astype(np.float64)
