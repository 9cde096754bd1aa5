"""The loop of every training run: steps, and once an epoch evaluation and checkpoints.

What a step is (an update from a buffer; acting in environments, then updates) belongs to a `Stepper`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch

from rlbuffers.errors import RlbuffersError
from rlbuffers_train.epoch_record import EpochRecord
from rlbuffers_train.playing.episodes import EvaluationResult
from rlbuffers_train.policy import ExploringPolicy
from rlbuffers_train.running.interrupts import InterruptGuard, TrainingInterrupted
from rlbuffers_train.running.reporting import Progress
from rlbuffers_train.running.run import TrainingRun
from rlbuffers_train.running.run_folder import LAST
from rlbuffers_train.running.run_summary import RunSummary
from rlbuffers_train.running.stopwatch import Stopwatch
from rlbuffers_train.seeds import Stream

__all__ = ["Stepper", "Trainer", "TrainingDivergedError", "within_training_step"]

_EVALUATION = "evaluation"
_SECONDS_PER_LOG = 1.0


class TrainingDivergedError(RlbuffersError):
    """The loss is no longer a number."""


class Stepper(Protocol):
    """What the loop repeats.

    Attributes
    ----------
    step : int
        How far training is, counted in `step_name`; `advance` adds to it.
    step_name : str
        Such as ``updates``.
    time_names : tuple of str
        What `advance` measures on the stopwatch.
    """

    step: int
    step_name: str
    time_names: tuple[str, ...]

    def advance(self, watch: Stopwatch) -> Mapping[str, torch.Tensor | float]:
        """Take one step; return losses and the like, or nothing. Tensors are not waited for."""

    def streams(self) -> dict[str, Any]:
        """Return the states of all sources of randomness by name, as JSON values."""


@contextmanager
def within_training_step(policy: ExploringPolicy) -> Iterator[None]:
    """Set the policy's flag; the trainer alone does, around updates and collection of training data."""
    policy.is_within_training_step = True
    try:
        yield
    finally:
        policy.is_within_training_step = False


class Trainer:
    """Trains to the end, to a return that solves the task, or to Ctrl-C.

    Parameters
    ----------
    run : TrainingRun
        Algorithm, folder and history; a resumed run's history counts.
    stepper : Stepper
        What a step is.
    num_epochs : int
        Number of epochs in total.
    steps_per_epoch : int
        Steps from one evaluation to the next.
    stop_at : float or None
        Mean return at which training ends. So that luck does not decide, it must be exceeded by a
        standard error, in an evaluation and again in a second one on twice as many other episodes.
    """

    def __init__(
        self,
        run: TrainingRun,
        stepper: Stepper,
        *,
        num_epochs: int,
        steps_per_epoch: int,
        stop_at: float | None = None,
    ) -> None:
        self._run = run
        self._stepper = stepper
        self._num_epochs = num_epochs
        self._steps_per_epoch = steps_per_epoch
        self._stop_at = math.inf if stop_at is None else stop_at
        self._first_step = stepper.step
        finished = run.history[-1].seconds if run.history else 0.0
        self._seconds_before = float(run.unfinished_epoch.get("seconds", finished))
        self._watch = Stopwatch((*stepper.time_names, _EVALUATION))
        self._guard = InterruptGuard()
        self._metrics = MetricMeans(run.unfinished_epoch.get("metrics", {}))
        self._logged_at = 0.0

    def train(self) -> RunSummary:
        """Train, judge the best policy on fresh episodes and sum up.

        Raises
        ------
        TrainingInterrupted
            After Ctrl-C; the state is saved and the message tells how to go on.
        TrainingDivergedError
            If the loss is no longer a number.
        """
        if self._is_finished:
            self._run.reporter.note(
                f"nothing is left to train: {len(self._run.history)} epochs are done. A larger --epoch goes on"
            )
        with self._guard:
            try:
                while not self._is_finished:
                    self._train_epoch()
                    self._end_epoch()
                with self._watch.measure(_EVALUATION):
                    judged = self._run.judge_best(self._on_evaluation_step)
            except TrainingInterrupted:
                # When only the judgement was left, last.pth is complete and the best weights are loaded.
                if not self._is_finished:
                    epoch = {"seconds": self._seconds, "metrics": self._metrics.sums()}
                    self._run.save(LAST, self._stepper.step, self._stepper.streams(), unfinished_epoch=epoch)
                raise TrainingInterrupted(
                    f"stopped after {self._stepper.step:,} {self._stepper.step_name}; everything is saved. "
                    f"Go on with --resume-path {self._run.logdir / LAST}"
                ) from None
        return self._run.finish(judged, self._seconds, self._watch.shares())

    @property
    def _is_finished(self) -> bool:
        history = self._run.history
        return len(history) >= self._num_epochs or (bool(history) and history[-1].is_solved)

    @property
    def _seconds(self) -> float:
        return self._seconds_before + self._watch.total

    def _train_epoch(self) -> None:
        # A run that was stopped while it evaluated has all steps of its epoch behind it.
        end = (len(self._run.history) + 1) * self._steps_per_epoch
        while self._stepper.step < end:
            self._guard.check()
            with within_training_step(self._run.algorithm.policy):
                metrics = self._stepper.advance(self._watch)
            self._take_note_of(metrics)
        self._guard.check()

    def _take_note_of(self, metrics: Mapping[str, torch.Tensor | float]) -> None:
        self._metrics.add(metrics)
        if self._watch.total - self._logged_at > _SECONDS_PER_LOG:
            self._run.log(self._stepper.step, {**self._read_metrics(), **self._watch.fractions()})
            self._logged_at = self._watch.total
        self._show("training")

    def _read_metrics(self) -> dict[str, float]:
        """Return the means since the last call, and make sure that training has not gone astray."""
        means = self._metrics.read()
        for name, value in means.items():
            if not math.isfinite(value):
                raise TrainingDivergedError(
                    f"{name.replace('_', ' ')} is {value} after {self._stepper.step:,} {self._stepper.step_name}; "
                    "the values outgrew floating point: try smaller learning rates, or scale the rewards"
                )
        return means

    def _end_epoch(self) -> None:
        epoch = len(self._run.history) + 1
        self._read_metrics()
        with self._watch.measure(_EVALUATION):
            evaluation = self._run.evaluate(Stream.EVALUATION, epoch, self._on_evaluation_step)
            is_solved = self._reaches_threshold(evaluation) and self._reaches_threshold(
                self._run.evaluate(Stream.CONFIRMATION, epoch, self._on_evaluation_step)
            )
        self._show("evaluating")  # with the time that it took
        metrics = self._metrics.take_epoch()
        record = EpochRecord(epoch, self._stepper.step, metrics, evaluation, is_solved, self._seconds)
        self._run.end_epoch(record, self._stepper.streams())

    def _reaches_threshold(self, evaluation: EvaluationResult | None) -> bool:
        return evaluation is not None and evaluation.surely_reaches(self._stop_at)

    def _on_evaluation_step(self) -> None:
        self._guard.check()
        self._show("evaluating")

    def _show(self, activity: str) -> None:
        seconds = self._watch.total - self._watch.seconds[_EVALUATION]
        self._run.reporter.progress(
            Progress(
                epoch=min(len(self._run.history) + 1, self._num_epochs),
                num_epochs=self._num_epochs,
                step=self._stepper.step,
                step_name=self._stepper.step_name,
                steps_per_second=(self._stepper.step - self._first_step) / (seconds or 1.0),
                time_shares=self._watch.shares(),
                activity=activity,
            )
        )


class MetricMeans:
    """Means of metrics over a second and over an epoch; a step may report some of them only.

    Steps hand in tensors, which are kept as they are: reading each at once would make the host wait for
    the device in every step. They are read together, which waits once.

    Parameters
    ----------
    sums : mapping
        `sums` of the part of the epoch that was trained before.
    """

    def __init__(self, sums: Mapping[str, Any]) -> None:
        self._unread: dict[str, list[torch.Tensor | float]] = {}
        self._epoch_sums = {name: float(total) for name, (total, _) in sums.items()}
        self._epoch_counts = {name: int(count) for name, (_, count) in sums.items()}

    def sums(self) -> dict[str, list[float]]:
        """Return sum and count of each metric in the epoch so far, JSON types."""
        self.read()
        return {name: [total, self._epoch_counts[name]] for name, total in self._epoch_sums.items()}

    def add(self, metrics: Mapping[str, torch.Tensor | float]) -> None:
        """Take the metrics of one step into account."""
        for name, value in metrics.items():
            self._unread.setdefault(name, []).append(value)

    def read(self) -> dict[str, float]:
        """Return the means over the steps since the last call."""
        means = {}
        for name, values in self._unread.items():
            tensors = [value if isinstance(value, torch.Tensor) else torch.tensor(value) for value in values]
            total = torch.stack(tensors).double().sum().item()
            means[name] = total / len(values)
            self._epoch_sums[name] = self._epoch_sums.get(name, 0.0) + total
            self._epoch_counts[name] = self._epoch_counts.get(name, 0) + len(values)
        self._unread = {}
        return means

    def take_epoch(self) -> dict[str, float]:
        """Return the means since the last call of this method, and begin anew."""
        self.read()
        means = {name: total / self._epoch_counts[name] for name, total in self._epoch_sums.items()}
        self._epoch_sums, self._epoch_counts = {}, {}
        return means
