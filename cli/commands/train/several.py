"""Several seeds in one command: their display while they run, and the table in the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from rich.live import Live

from rlbuffers.listing import listed
from rlbuffers_cli.console import console, rows_table, warn
from rlbuffers_cli.fitted_table import print_fitted
from rlbuffers_train.epoch_record import EpochRecord
from rlbuffers_train.playing.episodes import EvaluationResult
from rlbuffers_train.running.live_table import LiveTable
from rlbuffers_train.running.parallel_seeds import train_seeds_in_parallel
from rlbuffers_train.running.reporting import Progress
from rlbuffers_train.running.run_folder import seeds_logdir
from rlbuffers_train.running.several_seeds import (
    SEEDS_SUMMARY,
    SeedOutcome,
    SeedsSummary,
    requests_of_seeds,
    train_seeds,
)
from rlbuffers_train.running.training_request import TrainingRequest

__all__ = ["run_seeds"]

_DROPPABLE = ("minutes", "epoch")


def run_seeds(train: Callable[..., Any], request: TrainingRequest, seeds: tuple[int, ...], num_processes: int) -> None:
    """Train every seed and print what they come to."""
    about = request.task or (request.buffer.stem if request.buffer else "default-task")
    logdir = request.logdir or seeds_logdir(about, request.algorithm, seeds)
    requests = requests_of_seeds(request, seeds, logdir)
    console.print(f"Training {request.algorithm} with seeds {listed(map(str, seeds))}; files: {logdir}", soft_wrap=True)
    if num_processes > 1:
        with _Rows(seeds) as rows:
            summary = train_seeds_in_parallel(train, requests, logdir, num_processes, rows)
    else:
        summary = train_seeds(train, requests, logdir, lambda seed: LiveTable(console, f"Seed {seed}"))
    for outcome in summary.outcomes:
        if outcome.problem:
            warn(f"seed {outcome.seed}: {outcome.problem}")
    _print_table(summary)
    console.print(f"files: {logdir}; the table: {logdir / SEEDS_SUMMARY}", soft_wrap=True)
    if any(outcome.problem for outcome in summary.outcomes):
        raise click.exceptions.Exit(1)


def _print_table(summary: SeedsSummary) -> None:
    """Print a row for each seed, and one for all."""
    has_scores = summary.interval("last", normalized=True) is not None
    rows = []
    for outcome in summary.outcomes:
        done = outcome.summary
        if done is None:
            rows.append([str(outcome.seed), "failed", "", "", *([""] * 2 * has_scores), ""])
            continue
        scores = [_score(done.normalized(result)) for result in (done.last, done.best)] if has_scores else []
        row = [str(outcome.seed), _worded(done.last), _worded(done.best), str(done.best_epoch or ""), *scores]
        rows.append([*row, f"{done.seconds / 60:.1f}"])
    means = [str(summary.interval(which) or "") for which in ("last", "best")]
    scores = [str(summary.interval(which, normalized=True) or "") for which in ("last", "best")] if has_scores else []
    rows.append(["mean, 95%", *means, "", *scores, ""])
    normalized = ["last score", "best score"] if has_scores else []
    print_fitted("", ["seed", "last return", "best return", "epoch", *normalized, "minutes"], rows, _DROPPABLE)


def _worded(result: EvaluationResult | None) -> str:
    return "not evaluated" if result is None else f"{result.mean:.1f} ± {result.std:.1f}"


def _score(score: float | None) -> str:
    return "" if score is None else f"{score:.1f}"


class _Rows:
    """A line for each seed that runs: redrawn on a terminal, else a line for each epoch."""

    def __init__(self, seeds: tuple[int, ...]) -> None:
        self._states: dict[int, list[str]] = {seed: ["waiting", "", "", "", ""] for seed in seeds}
        self._first = seeds[0]
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> _Rows:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def progress(self, seed: int, progress: Progress) -> None:
        """Show how far a run is, and where its time goes."""
        state = self._states[seed]
        state[:3] = [
            f"{progress.activity}, epoch {progress.epoch}/{progress.num_epochs}",
            f"{progress.step:,}",
            f"{progress.steps_per_second:,.0f}/s",
        ]
        state[4] = progress.time_shares
        self._draw()

    def epoch_done(self, seed: int, record: EpochRecord) -> None:
        """Show the newest return."""
        self._states[seed][3] = _worded(record.evaluation)
        if self._live is None:
            told = f"seed {seed}: epoch {record.epoch}  step {record.step:,}  return {_worded(record.evaluation)}"
            speed, shares = self._states[seed][2], self._states[seed][4]
            console.print(told + (f"  {speed}  time: {shares}" if speed else ""), soft_wrap=True)
        self._draw()

    def note(self, seed: int, message: str) -> None:
        """Print what the first run says; the others say the same."""
        if seed == self._first:
            console.print(message, soft_wrap=True)

    def ended(self, outcome: SeedOutcome) -> None:
        """Show that a run is over."""
        self._states[outcome.seed][0] = outcome.problem or "done"
        self._draw()

    def _draw(self) -> None:
        if self._live is not None:
            rows = [[str(seed), *state] for seed, state in self._states.items()]
            self._live.update(rows_table("", ["seed", "", "step", "", "return", "time"], rows))
