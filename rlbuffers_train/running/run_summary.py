"""What came out of a training run: its last and its best score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlbuffers_train.playing.episodes import EvaluationResult
from rlbuffers_train.playing.reference_scores import ReferenceScores

__all__ = ["RunSummary"]

_LONG = 100.0  # seconds; more are told in minutes


@dataclass(frozen=True)
class RunSummary:
    """What came out of a run.

    Parameters
    ----------
    logdir : Path
        Folder with the run's files.
    last : EvaluationResult or None
        Evaluation after the last epoch; None without evaluation.
    best_epoch : int or None
        Epoch of `best.pth`, chosen by its evaluation.
    best : EvaluationResult or None
        Score of `best.pth` on fresh episodes, which did not choose it.
    seconds : float
        Time of training and evaluation.
    time_shares : str
        Where the time of this process went.
    scores : ReferenceScores or None
        What returns are measured by; None where nobody published any, and without evaluation.
    """

    logdir: Path
    last: EvaluationResult | None
    best_epoch: int | None
    best: EvaluationResult | None
    seconds: float
    time_shares: str
    scores: ReferenceScores | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the results as JSON types, as they are kept in `summary.json`."""
        return {
            "last": None if self.last is None else self.last.to_json(),
            "best": None if self.best is None else self.best.to_json(),
            "best_epoch": self.best_epoch,
            "seconds": self.seconds,
            "normalized": {"last": self.normalized(self.last), "best": self.normalized(self.best)},
        }

    def normalized(self, result: EvaluationResult | None) -> float | None:
        """Return the normalized score of a result, where there are reference scores."""
        return None if result is None or self.scores is None else self.scores.normalize(result.mean)

    def lines(self) -> list[str]:
        """Return the summary as lines of text."""
        lines = []
        if self.last is not None:
            lines.append(f"last epoch: return {self.last}{self._worded(self.last)}")
        if self.best is not None:
            told = f"{self.best}{self._worded(self.best)}"
            lines.append(f"best epoch ({self.best_epoch}): return {told}, fresh episodes with other seeds")
        if self.last is None:
            lines.append("not evaluated")
        time = f"{self.seconds:.0f} s" if self.seconds < _LONG else f"{self.seconds / 60:.1f} minutes"
        lines.append(f"time: {time} ({self.time_shares})")
        lines.append(f"files: {self.logdir}")
        return lines

    def _worded(self, result: EvaluationResult) -> str:
        score = self.normalized(result)
        return "" if score is None else f", normalized {score:.1f}"
