"""Finished and unfinished runs side by side: the seeds of one thing together, and what sets the others apart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rlbuffers.errors import BufferNotFoundError, FormatError
from rlbuffers.local_inputs import read_document
from rlbuffers_train.checkpoint import Checkpoint, load_checkpoint
from rlbuffers_train.comparing.checkpoint_evaluation import step_name_of
from rlbuffers_train.epoch_record import EpochRecord
from rlbuffers_train.playing.confidence import MeanInterval, summarize_runs
from rlbuffers_train.playing.episodes import EvaluationResult
from rlbuffers_train.playing.reference_scores import ReferenceScores, find_reference_scores
from rlbuffers_train.running.run_folder import LAST, SUMMARY
from rlbuffers_train.typed import typed

__all__ = ["ComparedRun", "RunGroup", "compare_runs", "find_runs", "read_run"]

# What seeds of one experiment may differ in.
_MAY_DIFFER = ("seed", "buffer", "epoch", "eval_episodes", "threads", "onednn")


@dataclass(frozen=True)
class ComparedRun:
    """One run, as its folder tells it.

    Parameters
    ----------
    path : Path
        The folder.
    checkpoint : Checkpoint
        Its newest state.
    history : sequence of EpochRecord
        Its epochs.
    best : EvaluationResult or None
        Score of the best epoch on fresh episodes; None for a run that has not come to its end, and without evaluation.
    """

    path: Path
    checkpoint: Checkpoint
    history: Sequence[EpochRecord]
    best: EvaluationResult | None

    @property
    def seed(self) -> int:
        """Of everything random."""
        return int(self.checkpoint.settings["seed"])

    @property
    def last(self) -> EvaluationResult | None:
        """Evaluation after the last epoch; None without evaluation."""
        return self.history[-1].evaluation if self.history else None

    @property
    def seconds(self) -> float:
        """Time until the end of the last epoch."""
        return self.history[-1].seconds if self.history else 0.0

    @property
    def scores(self) -> ReferenceScores | None:
        """What returns are measured by."""
        task = self.checkpoint.task
        return None if task is None else find_reference_scores(task, self.checkpoint.environment)

    def to_json(self) -> dict[str, Any]:
        """Return what a table has of it, as JSON types."""
        values: dict[str, Any] = {
            "path": str(self.path),
            "algorithm": self.checkpoint.algorithm,
            "task": self.checkpoint.task,
            "seed": self.seed,
            "step": self.checkpoint.step,
            "step_name": step_name_of(self.checkpoint),
            "seconds": self.seconds,
        }
        for which, result in (("last", self.last), ("best", self.best)):
            values[which] = None if result is None else result.mean
            values[f"{which}_std"] = None if result is None else result.std
            scores = self.scores
            values[f"{which}_normalized"] = None if result is None or scores is None else scores.normalize(result.mean)
        return values


@dataclass(frozen=True)
class RunGroup:
    """Runs that differ in their seeds only.

    Parameters
    ----------
    label : str
        The algorithm, and what sets it apart from the other groups.
    runs : sequence of ComparedRun
        One for each seed, by seed.
    repeated : sequence of Path
        Folders of further runs of these seeds, which do not count: they would make an interval narrower than it is.
    """

    label: str
    runs: Sequence[ComparedRun]
    repeated: Sequence[Path] = ()

    @property
    def task(self) -> str | None:
        """Where the runs were evaluated."""
        return self.runs[0].checkpoint.task

    def interval(self, name: str) -> MeanInterval | None:
        """Return the mean of a number of `ComparedRun.to_json`'s over the runs that have it."""
        values = [run.to_json()[name] for run in self.runs]
        found = [value for value in values if value is not None]
        return summarize_runs(found) if found else None

    def curve(self) -> list[tuple[int, list[float]]]:
        """Return the steps that all runs were evaluated at, with the mean return of each run."""
        returns = [
            {record.step: record.evaluation.mean for record in run.history if record.evaluation is not None}
            for run in self.runs
        ]
        common = sorted(set.intersection(*(set(one) for one in returns)))
        return [(step, [one[step] for one in returns]) for step in common]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        intervals = {name: self.interval(name) for name in ("last", "best", "last_normalized", "best_normalized")}
        return {
            "label": self.label,
            "task": self.task,
            **{name: interval and interval.to_json() for name, interval in intervals.items()},
            "runs": [run.to_json() for run in self.runs],
            "repeated": [str(path) for path in self.repeated],
            "curve": [{"step": step, "returns": returns} for step, returns in self.curve()],
        }


def find_runs(path: Path) -> list[Path]:
    """Return the folders of runs at or below a path.

    Raises
    ------
    BufferNotFoundError
        If there is none.
    """
    found = sorted(last.parent for last in path.expanduser().rglob(LAST))
    if not found:
        raise BufferNotFoundError(f"{path}: there is no run here; name the folder of a run or of several seeds")
    return found


def read_run(path: Path) -> ComparedRun:
    """Read the folder of a run.

    Raises
    ------
    FormatError, CorruptDataError
        If a file in it is damaged or something else.
    """
    checkpoint = load_checkpoint(path / LAST, torch.device("cpu"))
    summary = path / SUMMARY
    if not summary.exists():
        return ComparedRun(path, checkpoint, checkpoint.history, None)
    try:
        found = typed(json.loads(read_document(summary)), Mapping[str, Any], "of the file")
        best = typed(found["best"], EvaluationResult | None, "best")
    except (LookupError, ValueError, RecursionError) as error:
        raise FormatError(f"{summary}: not the summary of a run ({error})") from error
    return ComparedRun(path, checkpoint, checkpoint.history, best)


def compare_runs(paths: Sequence[Path | str]) -> list[RunGroup]:
    """Read all runs at or below some paths, and put those together that differ in their seeds only.

    Of several runs of one seed the one that came farthest counts.
    """
    folders = dict.fromkeys(folder for path in paths for folder in find_runs(Path(path)))
    groups: dict[str, list[ComparedRun]] = {}
    for folder in folders:
        run = read_run(folder)
        groups.setdefault(json.dumps(_identity(run), sort_keys=True), []).append(run)
    labels = _labels([_identity(runs[0]) for runs in groups.values()])
    return [_group(label, runs) for label, runs in zip(labels, groups.values(), strict=True)]


def _group(label: str, runs: Sequence[ComparedRun]) -> RunGroup:
    """Keep one run of each seed: the one that came farthest, the first of several."""
    by_seed: dict[int, ComparedRun] = {}
    for run in runs:
        rival = by_seed.setdefault(run.seed, run)
        if run.checkpoint.step > rival.checkpoint.step:
            by_seed[run.seed] = run
    kept = [by_seed[seed] for seed in sorted(by_seed)]
    return RunGroup(label, kept, [run.path for run in runs if run not in kept])


def _identity(run: ComparedRun) -> dict[str, Any]:
    """Return what makes an experiment: everything but the seed."""
    checkpoint = run.checkpoint
    settings = {name: value for name, value in checkpoint.settings.items() if name not in _MAY_DIFFER}
    data = str(checkpoint.buffer_fingerprint or "")[:12]
    return {
        "algorithm": checkpoint.algorithm,
        "task": checkpoint.task,
        "data": data,
        **settings,
        **checkpoint.config,
    }


def _labels(identities: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the algorithm of each, with the values that set apart those of one algorithm and task."""
    labels = []
    for one in identities:
        rivals = [other for other in identities if all(other[name] == one[name] for name in ("algorithm", "task"))]
        apart = [name for name in one if any(other.get(name) != one[name] for other in rivals)]
        labels.append(", ".join([one["algorithm"], *(_worded(name, one[name]) for name in apart)]))
    return labels


def _worded(name: str, value: Any) -> str:
    """Word a value as its command-line option would be given."""
    shown = ",".join(map(str, value)) if isinstance(value, list) else int(value) if isinstance(value, bool) else value
    return f"{name.replace('_', '-')} {shown}"
