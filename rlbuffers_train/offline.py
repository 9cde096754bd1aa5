"""Training on a buffer, from a request to a summary: checks, wiring and resuming."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from rlbuffers.errors import BufferNotFoundError, UsageError
from rlbuffers.loading.loader import Loader
from rlbuffers.paths import generated_buffer_path
from rlbuffers.reader import Buffer, open_buffer
from rlbuffers.schema import ACTIONS, OBSERVATIONS, TERMINALS
from rlbuffers.transforms import ClipRewards
from rlbuffers_train.algorithms.base import ProblemSpec
from rlbuffers_train.batch import COLUMNS, TransitionBatches
from rlbuffers_train.checkpoint import Checkpoint
from rlbuffers_train.devices import pick_device, set_threads
from rlbuffers_train.evaluation_task import choose_evaluation_task
from rlbuffers_train.reporting import Reporter, SilentReporter
from rlbuffers_train.run import BEST, RunSummary, TrainingRun
from rlbuffers_train.seeds import Stream, generator_of
from rlbuffers_train.steppers import OfflineStepper
from rlbuffers_train.trainer import Trainer
from rlbuffers_train.training_request import (
    TrainingRequest,
    given,
    load_resumed,
    make_algorithm,
    refuse_changes,
    run_logdir,
)

__all__ = ["DEFAULT_TASK", "OfflineSettings", "problem_of_buffer", "train_offline"]

DEFAULT_TASK = "CartPole-v1"
_DEFAULT_EPS = 0.2
# One thread reads a batch in less time than an update takes; more would take cores from the update.
_WORKERS = 1
_PREFETCH = 4


@dataclass(frozen=True)
class OfflineSettings:
    """Settings of the trainer, as checkpoints keep them.

    Parameters
    ----------
    buffer : str
        Path of the data.
    seed : int
        Of the initial weights, the order of the data, the policy and the evaluations.
    epoch : int
        Number of epochs; may be raised when resuming.
    update_per_epoch : int
        Updates from one evaluation to the next.
    eval_episodes : int
        Episodes of an evaluation; 0 trains without any. May be changed when resuming.
    clip_rewards : bool
        Whether rewards are clipped to [-1, 1]; otherwise they are used as they are stored.
    """

    buffer: str
    seed: int = 0
    epoch: int = 10
    update_per_epoch: int = 1000
    eval_episodes: int = 10
    clip_rewards: bool = False

    def __post_init__(self) -> None:
        if min(self.epoch, self.update_per_epoch) < 1 or min(self.seed, self.eval_episodes) < 0:
            raise UsageError(f"numbers of epochs and updates must be positive, others not negative; got {self}")


def train_offline(request: TrainingRequest, reporter: Reporter | None = None) -> RunSummary:
    """Train an algorithm on a buffer.

    Parameters
    ----------
    request : TrainingRequest
        Without a buffer, the one that ``rlbuffers generate`` writes for the task is taken.
    reporter : Reporter, optional
        Shows what happens; nothing is shown by default.

    Raises
    ------
    BufferNotFoundError
        If there is no such buffer; the message tells how to make it where it is the default one.
    UsageError
        If the request contradicts the data or the checkpoint to be resumed.
    TrainingInterrupted
        After Ctrl-C, with everything saved.
    """
    reporter = reporter or SilentReporter()
    device = pick_device(request.device)
    resumed = load_resumed(request, device, online=False)
    with ExitStack() as stack:
        buffer = stack.enter_context(open_buffer(_find_buffer(request, resumed)))
        settings = _settle(request, buffer, resumed)
        problem = problem_of_buffer(buffer)
        asked = request.task or (None if resumed is None else resumed.task)
        task = None
        if settings.eval_episodes:
            task = choose_evaluation_task(asked, buffer, problem, reporter)
        set_threads(problem)
        algorithm = make_algorithm(request, problem, settings.seed, resumed, device)
        sampler = buffer.sampler(
            algorithm.config.batch_size,
            generator_of(settings.seed, Stream.SAMPLER),
            columns=COLUMNS,
            transforms=[ClipRewards()] if settings.clip_rewards else [],
        )
        to_batch = TransitionBatches(algorithm.config.gamma, device)
        loader = stack.enter_context(Loader(sampler, to_batch, prefetch=_PREFETCH, workers=_WORKERS))
        stepper = OfflineStepper(algorithm, loader)
        if resumed is not None:
            stepper.resume(resumed.step, resumed.streams)
            torch.set_rng_state(resumed.torch_random_state)
        run = TrainingRun(
            run_logdir(request, task or buffer.path.stem, settings.seed),
            algorithm,
            reporter,
            task=task,
            seed=settings.seed,
            eval_episodes=settings.eval_episodes,
            settings=asdict(settings),
            buffer_fingerprint=buffer.fingerprint,
            step_name=stepper.step_name,
            best_name=BEST,
            resumed=resumed,
        )
        for warning in buffer.metadata.get("warnings", ()):
            reporter.note(f"warning: {warning}")
        reporter.note(f"{request.algorithm} on {len(buffer):,} transitions of {buffer.path}")
        reporter.note(f"evaluation: {task or 'none'}; device: {device}; files: {run.logdir}")
        trainer = Trainer(run, stepper, num_epochs=settings.epoch, steps_per_epoch=settings.update_per_epoch)
        return trainer.train()


def problem_of_buffer(buffer: Buffer) -> ProblemSpec:
    """Return the shapes of a buffer with one observation column and discrete actions.

    Raises
    ------
    UsageError
        If the buffer has dict observations, other actions, or no terminals.
    """
    columns = buffer.spec.columns
    if OBSERVATIONS not in columns or TERMINALS not in columns:
        raise UsageError(
            f"{buffer.path}: training needs columns {OBSERVATIONS!r} and {TERMINALS!r}; "
            f"the buffer has {', '.join(columns)}"
        )
    space = columns[ACTIONS].space or {}
    if space.get("type") != "discrete" or columns[ACTIONS].shape:
        raise UsageError(f"{buffer.path}: discrete actions are needed; the spec says {columns[ACTIONS].to_json()}")
    observations = columns[OBSERVATIONS]
    return ProblemSpec(observations.shape, observations.dtype.name, int(space["n"]))


def _find_buffer(request: TrainingRequest, resumed: Checkpoint | None) -> Path:
    if request.buffer is not None:
        return request.buffer.expanduser()
    if resumed is not None:
        return Path(resumed.settings["buffer"])
    task = request.task or DEFAULT_TASK
    path = generated_buffer_path(task, "qrdqn", _DEFAULT_EPS)
    if not path.exists():
        command = f"rlbuffers generate --policy qrdqn --eps {_DEFAULT_EPS:g}"
        command += f" --task {task}" if task != DEFAULT_TASK else ""
        raise BufferNotFoundError(f"there is no buffer at {path}. Make it with: {command}; or name one with --buffer")
    return path


def _settle(request: TrainingRequest, buffer: Buffer, resumed: Checkpoint | None) -> OfflineSettings:
    """Combine what is asked with what is recommended, or with the run that is resumed."""
    asked = {**given(request.settings), "buffer": str(buffer.path.absolute())}
    if resumed is None:
        defaults = {"update_per_epoch": 10_000} if problem_of_buffer(buffer).is_pixels else {}
        return OfflineSettings(**{**defaults, **asked})
    if buffer.fingerprint != resumed.buffer_fingerprint:
        raise UsageError(
            f"{request.resume_path} was trained on other data: their fingerprint is "
            f"{str(resumed.buffer_fingerprint)[:12]}, that of {buffer.path} is {buffer.fingerprint[:12]}"
        )
    may_change = {name: asked[name] for name in ("epoch", "eval_episodes", "buffer") if name in asked}
    refuse_changes({name: value for name, value in asked.items() if name not in may_change}, resumed.settings)
    return replace(OfflineSettings(**resumed.settings), **may_change)
