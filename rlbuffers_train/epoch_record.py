"""One epoch of a run's history, which checkpoints keep and comparisons read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlbuffers_train.playing.episodes import EvaluationResult

__all__ = ["EpochRecord"]


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch.

    Parameters
    ----------
    epoch : int
        Counted from 1.
    step : int
        Updates, or environment steps for online training, since the beginning.
    metrics : mapping
        Losses and the like, means over the epoch.
    evaluation : EvaluationResult or None
        None where training goes without.
    is_solved : bool
        Whether the return reached the threshold at which training stops, and did so again on a
        second set of episodes.
    seconds : float
        Time since the beginning of the run, its interruptions not counted.
    """

    epoch: int
    step: int
    metrics: Mapping[str, float]
    evaluation: EvaluationResult | None
    is_solved: bool
    seconds: float

    @property
    def merit(self) -> tuple[bool, float]:
        """What epochs are compared by to find the best one."""
        return self.is_solved, -math.inf if self.evaluation is None else self.evaluation.mean

    def to_json(self) -> dict[str, Any]:
        """Return the values as JSON types."""
        evaluation = None if self.evaluation is None else self.evaluation.to_json()
        return {**vars(self), "metrics": dict(self.metrics), "evaluation": evaluation}
