"""How well the mean over a few runs is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rlbuffers.errors import UsageError

__all__ = ["MeanInterval", "student_t", "summarize_runs"]

_LEVEL = 0.95


@dataclass(frozen=True)
class MeanInterval:
    """A mean over runs and its 95% confidence interval.

    Parameters
    ----------
    mean : float
        Of the runs.
    half_width : float or None
        The interval reaches from ``mean - half_width`` to ``mean + half_width``; None for a single run, which tells
        nothing of its spread.
    num_runs : int
        How many.
    """

    mean: float
    half_width: float | None
    num_runs: int

    def __str__(self) -> str:
        if self.half_width is None:
            return f"{self.mean:.1f} (one run)"
        return f"{self.mean:.1f} ± {self.half_width:.1f}"

    def to_json(self) -> dict[str, float | int | None]:
        """Return the values as JSON types."""
        return {"mean": self.mean, "half_width_95": self.half_width, "num_runs": self.num_runs}


def summarize_runs(values: Sequence[float]) -> MeanInterval:
    """Return the mean of R independent runs with Student's interval.

    ``mean ± t(0.975, R - 1) s / sqrt(R)``, where ``s`` is the standard deviation with R - 1 in its denominator. It
    holds for values that are roughly normal.

    Parameters
    ----------
    values : sequence of float
        One value a run, at least one.
    """
    count = len(values)
    mean = math.fsum(values) / count
    if count == 1:
        return MeanInterval(mean, None, 1)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    return MeanInterval(mean, student_t(count - 1) * deviation / math.sqrt(count), count)


def student_t(degrees: int) -> float:
    """Return the t that a variable of Student's distribution exceeds in size with probability 5%.

    For whole numbers of degrees of freedom the distribution has a finite series (Abramowitz & Stegun 26.7.3 and
    26.7.4), which is inverted by bisection.

    Raises
    ------
    UsageError
        If there is no degree of freedom.
    """
    if degrees < 1:
        raise UsageError(f"Student's distribution needs at least 1 degree of freedom, got {degrees}")
    low, high = 0.0, math.pi / 2
    for _ in range(100):  # halves the angle's interval below the precision of a float
        middle = (low + high) / 2
        if _probability_within(middle, degrees) < _LEVEL:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def _probability_within(theta: float, degrees: int) -> float:
    """Return P(-t < T < t) for t = sqrt(degrees) tan(theta)."""
    squared = math.cos(theta) ** 2
    is_odd = degrees % 2 == 1
    term = math.cos(theta) if is_odd else 1.0
    series = 0.0
    for number in range(1, degrees // 2 + 1):
        series += term
        # 26.7.3 goes on with 2/3, 4/5, ...; 26.7.4 with 1/2, 3/4, ...
        term *= squared * (2 * number / (2 * number + 1) if is_odd else (2 * number - 1) / (2 * number))
    if is_odd:
        return 2 / math.pi * (theta + math.sin(theta) * series)
    return math.sin(theta) * series
