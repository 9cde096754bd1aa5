"""One request with several seeds: one run after another, and what they come to together."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlbuffers.atomic import write_bytes_atomically
from rlbuffers.errors import RlbuffersError, UsageError
from rlbuffers.listing import listed
from rlbuffers_train.playing.confidence import MeanInterval, summarize_runs
from rlbuffers_train.running.interrupts import TrainingInterrupted
from rlbuffers_train.running.reporting import Reporter
from rlbuffers_train.running.run_folder import LAST
from rlbuffers_train.running.run_summary import RunSummary
from rlbuffers_train.running.training_request import TrainingRequest

__all__ = ["SEEDS_SUMMARY", "SeedOutcome", "SeedsSummary", "Train", "finish_seeds", "requests_of_seeds", "train_seeds"]

SEEDS_SUMMARY = "seeds.json"
# `train_offline` or `train_online`.
Train = Callable[[TrainingRequest, Reporter | None], RunSummary]


@dataclass(frozen=True)
class SeedOutcome:
    """What became of the run of one seed.

    Parameters
    ----------
    seed : int
        Which.
    summary : RunSummary or None
        None where the run failed.
    problem : str
        Why it failed; empty if it did not.
    """

    seed: int
    summary: RunSummary | None
    problem: str = ""


@dataclass(frozen=True)
class SeedsSummary:
    """The runs of several seeds.

    Parameters
    ----------
    logdir : Path
        Folder of their folders.
    outcomes : sequence of SeedOutcome
        In the order in which the seeds were asked for.
    """

    logdir: Path
    outcomes: Sequence[SeedOutcome]

    def interval(self, which: str, *, normalized: bool = False) -> MeanInterval | None:
        """Return the mean of the seeds' ``last`` or ``best`` scores, or None where there are none."""
        values = []
        for outcome in self.outcomes:
            result = None if outcome.summary is None else getattr(outcome.summary, which)
            if outcome.summary is None or result is None:
                continue
            value = outcome.summary.normalized(result) if normalized else result.mean
            if value is not None:
                values.append(value)
        return summarize_runs(values) if values else None

    def to_json(self) -> dict[str, Any]:
        """Return the results as JSON types, as they are kept in `seeds.json`."""
        return {
            "seeds": {
                str(outcome.seed): None if outcome.summary is None else outcome.summary.to_json()
                for outcome in self.outcomes
            },
            "problems": {str(outcome.seed): outcome.problem for outcome in self.outcomes if outcome.problem},
            **{which: _json_of(self.interval(which)) for which in ("last", "best")},
            "normalized": {which: _json_of(self.interval(which, normalized=True)) for which in ("last", "best")},
        }


def _json_of(interval: MeanInterval | None) -> dict[str, Any] | None:
    return None if interval is None else interval.to_json()


def requests_of_seeds(request: TrainingRequest, seeds: Sequence[int], logdir: Path) -> dict[int, TrainingRequest]:
    """Return the request of each seed: a run of its own in ``logdir/seedN``, or going on with the one there.

    Raises
    ------
    UsageError
        If seeds repeat, or the request goes on with a single run, or the folder is a single run's.
    """
    if len(set(seeds)) != len(seeds):
        raise UsageError(f"--seeds: each may be named once, got {listed(map(str, seeds))}")
    if request.resume_path is not None:
        raise UsageError("--resume-path is of one run; to go on with several seeds, give --seeds and their --logdir")
    if (logdir.expanduser() / LAST).exists():
        raise UsageError(f"{logdir} is the folder of one run already; choose another --logdir for several seeds")
    requests = {}
    for seed in seeds:
        folder = logdir.expanduser() / f"seed{seed}"
        begun = folder / LAST
        requests[seed] = replace(
            request,
            logdir=folder,
            resume_path=begun if begun.exists() else None,
            settings={**request.settings, "seed": seed},
        )
    return requests


def train_seeds(
    train: Train,
    requests: Mapping[int, TrainingRequest],
    logdir: Path,
    reporter_of: Callable[[int], AbstractContextManager[Reporter]],
) -> SeedsSummary:
    """Train one seed after another. A run that fails does not keep the others from running.

    Parameters
    ----------
    train : callable
        `train_offline` or `train_online`.
    requests : mapping of seed to TrainingRequest
        See :func:`requests_of_seeds`.
    logdir : Path
        Where `seeds.json` goes.
    reporter_of : callable
        Opens the display of a seed's run.

    Raises
    ------
    UsageError
        If a request cannot be obeyed; the others could not either.
    TrainingInterrupted
        After Ctrl-C; everything is saved and the message tells how to go on.
    """
    outcomes: list[SeedOutcome] = []
    for seed, request in requests.items():
        try:
            with reporter_of(seed) as reporter:
                outcomes.append(SeedOutcome(seed, train(request, reporter)))
        except TrainingInterrupted as interruption:
            raise interrupted([outcome.seed for outcome in outcomes], requests, logdir) from interruption
        except UsageError:
            raise
        except RlbuffersError as error:
            outcomes.append(SeedOutcome(seed, None, str(error)))
    return finish_seeds(logdir, outcomes)


def interrupted(done: Sequence[int], requests: Mapping[int, TrainingRequest], logdir: Path) -> TrainingInterrupted:
    """Return the exception that tells how far several seeds have come."""
    told = f"{len(done)} of {len(requests)} seeds are done" if done else "no seed is done yet"
    return TrainingInterrupted(
        f"stopped; {told}, and what was begun is saved. The same command goes on, with --logdir {logdir}"
    )


def finish_seeds(logdir: Path, outcomes: Sequence[SeedOutcome]) -> SeedsSummary:
    """Sum up, and keep the sum.

    Raises
    ------
    RlbuffersError
        If no run came to its end.
    """
    summary = SeedsSummary(logdir, outcomes)
    if not any(outcome.summary for outcome in outcomes):
        raise RlbuffersError(f"no seed was trained to the end; the first one: {outcomes[0].problem}")
    content = json.dumps(summary.to_json(), indent=2) + "\n"
    write_bytes_atomically(logdir / SEEDS_SUMMARY, content.encode())
    return summary
