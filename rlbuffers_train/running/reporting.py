"""What a trainer tells while it runs; who shows it implements `Reporter`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rlbuffers_train.epoch_record import EpochRecord

__all__ = ["Progress", "Reporter", "SilentReporter"]


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
