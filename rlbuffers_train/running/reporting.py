"""What a trainer tells while it runs; who shows it implements `Reporter`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from rlbuffers_train.evaluation.playing import EvaluationResult

__all__ = ["EpochRecord", "Progress", "Reporter", "SilentReporter"]


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


@dataclass(frozen=True)
class Progress:
    """Where a run is within its current epoch."""

    epoch: int
    num_epochs: int
    step: int
    step_name: str
    steps_per_second: float
    time_shares: str
    activity: str


class Reporter(Protocol):
    """Shows what a trainer does."""

    def progress(self, progress: Progress) -> None:
        """Take note of the state; called after each update, so it must be quick."""

    def epoch_done(self, record: EpochRecord) -> None:
        """Show a finished epoch."""

    def note(self, message: str) -> None:
        """Show one line."""


class SilentReporter:
    """Shows nothing."""

    def progress(self, progress: Progress) -> None:
        """Do nothing."""

    def epoch_done(self, record: EpochRecord) -> None:
        """Do nothing."""

    def note(self, message: str) -> None:
        """Do nothing."""
