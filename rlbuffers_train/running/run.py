"""What every trainer does at the end of an epoch and of a run: evaluate, record, save.

A policy is never judged on the episodes that chose it: `best.pth` is chosen by the evaluations after
each epoch, and the score reported for it comes from fresh episodes with other seeds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from rlbuffers.atomic import write_bytes_atomically
from rlbuffers.errors import FormatError, UsageError
from rlbuffers.local_inputs import read_document
from rlbuffers.metadata import written_by
from rlbuffers_train.algorithms import find_entry
from rlbuffers_train.algorithms.base import Algorithm
from rlbuffers_train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from rlbuffers_train.epoch_record import EpochRecord
from rlbuffers_train.playing.episodes import EvaluationResult, evaluate
from rlbuffers_train.playing.reference_scores import find_reference_scores
from rlbuffers_train.running.code_version import commit_of_working_directory
from rlbuffers_train.running.learning_curve import draw_learning_curve
from rlbuffers_train.running.reporting import Reporter
from rlbuffers_train.running.run_folder import CONFIG, CONFIG_OF_PROGRAMS, LAST, LEARNING_CURVE, SUMMARY, render_config
from rlbuffers_train.running.run_summary import RunSummary
from rlbuffers_train.seeds import Stream, generator_of
from rlbuffers_train.typed import typed

__all__ = ["TrainingRun"]


class TrainingRun:
    """Evaluates, records and saves; knows nothing of where batches come from.

    Parameters
    ----------
    logdir : Path
        Folder of the run; made if missing.
    algorithm : Algorithm
        What is trained.
    task : str or None
        What to evaluate on; None for training without evaluation.
    seed : int
        Of the run; evaluations derive theirs from it.
    eval_episodes : int
        Number of episodes of each evaluation.
    settings : mapping
        The trainer's settings, JSON types; kept in checkpoints and `config.yaml`.
    buffer_fingerprint : str or None
        Of the data; None for online training.
    environment : mapping
        What the data say of their environment; empty for online training.
    step_name : str
        What a step is, such as ``updates``.
    best_name : str
        File name of the best epoch's checkpoint.
    resumed : Checkpoint or None
        Where to go on.
    resumed_path : Path or None
        File of `resumed`. Its best epoch comes along where the run goes on in another folder.

    Raises
    ------
    UsageError
        If the folder holds a run already and its newest state is not the one that is resumed.
    """

    def __init__(
        self,
        logdir: Path,
        algorithm: Algorithm[Any],
        reporter: Reporter,
        *,
        task: str | None,
        seed: int,
        eval_episodes: int,
        settings: Mapping[str, Any],
        buffer_fingerprint: str | None,
        environment: Mapping[str, Any],
        step_name: str,
        best_name: str,
        resumed: Checkpoint | None,
        resumed_path: Path | None,
    ) -> None:
        self.logdir = logdir
        self.algorithm = algorithm
        self.reporter = reporter
        self.task = task
        self.step_name = step_name
        self._best_name = best_name
        self._seed = seed
        self._eval_episodes = eval_episodes
        self._settings = dict(settings)
        self._buffer_fingerprint = buffer_fingerprint
        self._environment = dict(environment)
        self.history = [] if resumed is None else list(resumed.history)
        self.unfinished_epoch: Mapping[str, Any] = {} if resumed is None else resumed.unfinished_epoch
        if (logdir / LAST).exists() and not (resumed_path is not None and resumed_path.samefile(logdir / LAST)):
            raise UsageError(
                f"{logdir} holds a run already. Go on with --resume-path {logdir / LAST}, or choose another --logdir"
            )
        logdir.mkdir(parents=True, exist_ok=True)
        self._best = None if resumed_path is None else self._take_best_along(resumed_path.parent / best_name)
        self._write_config(resumed_path)
        first_step = 0 if resumed is None else resumed.step
        self._writer = SummaryWriter(str(logdir), purge_step=first_step + 1)

    def _take_best_along(self, path: Path) -> EpochRecord | None:
        """Return the best epoch so far by its file rather than by the history, for the file is what will be judged."""
        if not path.exists():
            return None
        best = load_checkpoint(path, self.algorithm.device)
        # Beside a copy of an older state there may be the best of epochs that this run has not come to.
        if len(best.history) > len(self.history):
            return None
        if path.parent.resolve() != self.logdir.resolve():
            write_bytes_atomically(self.logdir / self._best_name, path.read_bytes())
        if not best.history:
            raise FormatError(f"{path}: expected the checkpoint of an epoch, found one without any")
        return best.history[-1]

    def _write_config(self, resumed_path: Path | None) -> None:
        here = {**written_by(), "threads": torch.get_num_threads(), "git": commit_of_working_directory()}
        before = {} if resumed_path is None else _config_beside(resumed_path)
        facts = {
            "algorithm": self.algorithm.name,
            "task": self.task,
            "buffer": self._settings.get("buffer"),
            "buffer_fingerprint": self._buffer_fingerprint,
            "device": str(self.algorithm.device),
            "hyperparameters": self.algorithm.config.to_json(),
            "settings": {name: value for name, value in self._settings.items() if name != "buffer"},
            "written_by": before.get("written_by", here),
        }
        if "written_by" in before:
            facts["resumed_by"] = [*before["resumed_by"], here]
        write_bytes_atomically(self.logdir / CONFIG, render_config(facts))
        more = {
            "settings": self._settings,
            "paper": find_entry(self.algorithm.name, self.algorithm.problem.actions.kind).paper,
            "problem": self.algorithm.problem.to_json(),
        }
        content = json.dumps({**facts, **more}, indent=2) + "\n"
        write_bytes_atomically(self.logdir / CONFIG_OF_PROGRAMS, content.encode())

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add values to the curves of TensorBoard."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def save(
        self, name: str, step: int, streams: Mapping[str, Any], *, unfinished_epoch: Mapping[str, Any] | None = None
    ) -> Path:
        """Write a checkpoint of the present state; see `Checkpoint` for what the trainer hands in."""
        path = self.logdir / name
        checkpoint = Checkpoint(
            algorithm=self.algorithm.name,
            task=self.task,
            problem=self.algorithm.problem,
            config=self.algorithm.config.to_json(),
            settings=self._settings,
            buffer_fingerprint=self._buffer_fingerprint,
            step=step,
            history=self.history.copy(),
            streams=streams,
            algorithm_state=self.algorithm.state_dict(),
            torch_random_state=torch.get_rng_state(),
            environment=self._environment,
            unfinished_epoch=unfinished_epoch or {},
        )
        save_checkpoint(path, checkpoint)
        return path

    def evaluate(self, stream: Stream, number: int, on_step: Callable[[], None]) -> EvaluationResult | None:
        """Evaluate the present policy on the episodes that belong to `stream` and `number`."""
        if self.task is None:
            return None
        # A confirmation ends training, so it is worth more episodes.
        num_episodes = self._eval_episodes * (2 if stream is Stream.CONFIRMATION else 1)
        generator = generator_of(self._seed, stream, number)
        return evaluate(self.algorithm.policy, self.task, num_episodes, generator, on_step)

    def end_epoch(self, record: EpochRecord, streams: Mapping[str, Any]) -> None:
        """Record and show a finished epoch; save it as the last and, if it is, as the best one."""
        self.history.append(record)
        self.log(record.step, record.metrics)
        if record.evaluation is not None:
            self.log(record.step, {"return/mean": record.evaluation.mean, "return/std": record.evaluation.std})
        self._writer.flush()
        # The best file first: a run killed between the two repeats the epoch and finds it as good.
        if record.evaluation is not None and (self._best is None or record.merit > self._best.merit):
            self.save(self._best_name, record.step, streams)
            self._best = record
        self.save(LAST, record.step, streams)
        self.reporter.epoch_done(record)

    def judge_best(self, on_step: Callable[[], None]) -> EvaluationResult | None:
        """Load `best.pth`, where there is one, and return its score on fresh episodes."""
        if self._best is None:
            return None
        checkpoint = load_checkpoint(self.logdir / self._best_name, self.algorithm.device)
        self.algorithm.load_state_dict(checkpoint.algorithm_state)
        return self.evaluate(Stream.FINAL_EVALUATION, 0, on_step)

    def finish(self, judged: EvaluationResult | None, seconds: float, time_shares: str) -> RunSummary:
        """Draw the learning curve, close what is open and sum up."""
        title = f"{self.algorithm.name} on {self.task or 'data without evaluation'}"
        draw_learning_curve(self.logdir / LEARNING_CURVE, self.history, title, self.step_name)
        self._writer.close()
        summary = RunSummary(
            logdir=self.logdir,
            last=self.history[-1].evaluation if self.history else None,
            best_epoch=None if self._best is None else self._best.epoch,
            best=judged,
            seconds=seconds,
            time_shares=time_shares,
            scores=None if self.task is None else find_reference_scores(self.task, self._environment),
        )
        write_bytes_atomically(self.logdir / SUMMARY, (json.dumps(summary.to_json(), indent=2) + "\n").encode())
        return summary


def _config_beside(checkpoint: Path) -> dict[str, Any]:
    """Return what the run of a checkpoint wrote of itself before; nothing where that is not there any more."""
    try:
        before = json.loads(read_document(checkpoint.parent / CONFIG_OF_PROGRAMS))
        found = {"written_by": before["written_by"], "resumed_by": before.get("resumed_by", [])}
        typed(found["written_by"], Mapping[str, Any], "written_by")
        typed(found["resumed_by"], Sequence[Mapping[str, Any]], "resumed_by")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}
    return found
