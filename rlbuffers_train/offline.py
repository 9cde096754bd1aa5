"""Training on a buffer, from a request to a summary: checks, wiring and resuming."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rlbuffers.errors import BufferNotFoundError, UsageError
from rlbuffers.listing import listed
from rlbuffers.paths import Url, generated_buffer_path, located
from rlbuffers.reader import Buffer, open_buffer
from rlbuffers.schema import STACK_INDEX
from rlbuffers.stated_actions import StatedActions
from rlbuffers.transforms import ClipRewards, ScaleRewards, Transform
from rlbuffers_train.algorithms import entries_of, find_entry, load_algorithm
from rlbuffers_train.checkpoint import Checkpoint, checked_environment
from rlbuffers_train.default_data import DEFAULT_DATA
from rlbuffers_train.devices import COMPUTE_NAMES, pick_device, threads_for
from rlbuffers_train.finite_data import require_finite
from rlbuffers_train.networks.linear import onednn_as
from rlbuffers_train.offline_settings import OfflineSettings
from rlbuffers_train.playing.evaluation_task import choose_evaluation_task, problem_of_task
from rlbuffers_train.problem import ProblemSpec
from rlbuffers_train.problem_of_buffer import problem_of_buffer, require_fitting, reward_scale_of
from rlbuffers_train.running.reporting import Reporter, SilentReporter
from rlbuffers_train.running.run import TrainingRun
from rlbuffers_train.running.run_folder import BEST
from rlbuffers_train.running.run_summary import RunSummary
from rlbuffers_train.running.steppers import OfflineStepper
from rlbuffers_train.running.trainer import Trainer
from rlbuffers_train.running.training_request import (
    TrainingRequest,
    load_resumed,
    make_algorithm,
    refuse_other_task,
    resume_stepper,
    resumed_path,
    run_logdir,
    settled,
)
from rlbuffers_train.seeds import Stream, generator_of
from rlbuffers_train.transition_loader import transition_loader

__all__ = ["train_offline"]

_STATED = ("num_actions", "first_action", "action_low", "action_high")
_MAY_CHANGE = ("epoch", "eval_episodes", "buffer", *COMPUTE_NAMES)


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
        buffer = stack.enter_context(open_buffer(_find_buffer(request, resumed), cache=request.cache))
        _refuse_other_data(request, buffer)
        asked = request.task or (None if resumed is None else resumed.task)
        environment = checked_environment(buffer.metadata.get("environment") or {}, f"{buffer.path}: environment")
        problem = _problem_of(request, buffer, asked, reporter) if resumed is None else resumed.problem
        settings = _settings_of(request, buffer, problem, resumed)
        if resumed is not None:
            require_fitting(resumed_path(request), problem, buffer)
        task = None
        if settings.eval_episodes:
            task = choose_evaluation_task(asked, buffer, problem, reporter.note)
            refuse_other_task(request, task, None if resumed is None else resumed.task)
        require_finite(buffer, load_algorithm(request.algorithm, problem.actions.kind).columns)
        algorithm = make_algorithm(request, problem, settings.seed, resumed, device)
        stack.enter_context(threads_for(problem, algorithm.products, settings.threads))
        stack.enter_context(onednn_as(settings.onednn))
        algorithm.compute_as(settings)
        sampler = buffer.sampler(
            algorithm.config.batch_size,
            generator_of(settings.seed, Stream.SAMPLER),
            n_step=algorithm.n_step,
            gamma=algorithm.gamma,
            next_actions=algorithm.needs_next_actions,
            columns=algorithm.columns,
            transforms=_reward_transforms(settings, buffer),
        )
        loader = stack.enter_context(transition_loader(sampler, problem, algorithm.gamma, device))
        stepper = OfflineStepper(algorithm, loader)
        if resumed is not None:
            resume_stepper(stepper, resumed, resumed_path(request))
        run = TrainingRun(
            run_logdir(request, task or buffer.path.stem, settings.seed),
            algorithm,
            reporter,
            task=task,
            seed=settings.seed,
            eval_episodes=settings.eval_episodes,
            settings=settings.to_json(),
            buffer_fingerprint=buffer.fingerprint,
            environment=environment,
            step_name=stepper.step_name,
            best_name=BEST,
            resumed=resumed,
            resumed_path=resumed_path(request),
        )
        for warning in buffer.warnings:
            reporter.note(f"warning: {warning}")
        reporter.note(f"{request.algorithm}: {find_entry(request.algorithm, problem.actions.kind).paper}")
        reporter.note(f"{request.algorithm} on {len(buffer):,} transitions of {buffer.path}")
        from_file = [name for name, planned in buffer.plan.items() if planned.place == "file" and name != STACK_INDEX]
        if from_file:
            reporter.note(f"read from the file each time, for want of --cache: {listed(from_file)}")
        reporter.note(f"evaluation: {task or 'none'}; device: {device}; files: {run.logdir}")
        trainer = Trainer(run, stepper, num_epochs=settings.epoch, steps_per_epoch=settings.update_per_epoch)
        return trainer.train()


def _find_buffer(request: TrainingRequest, resumed: Checkpoint | None) -> Path | Url:
    if request.buffer is not None:
        return request.buffer.expanduser()
    if resumed is not None:
        return located(resumed.settings["buffer"])
    kind = entries_of(request.algorithm)[0].actions
    if request.task is not None:
        kind = find_entry(request.algorithm, problem_of_task(request.task).actions.kind).actions
    policy, eps, default_task = DEFAULT_DATA[kind]
    task = request.task or default_task
    path = generated_buffer_path(task, policy, eps)
    if not path.exists():
        command = f"rlbuffers generate --policy {policy}" + (f" --eps {eps:g}" if eps else "")
        command += f" --task {task}" if task != default_task else ""
        raise BufferNotFoundError(f"there is no buffer at {path}. Make it with: {command}; or name one with --buffer")
    return path


def _problem_of(request: TrainingRequest, buffer: Buffer, task: str | None, reporter: Reporter) -> ProblemSpec:
    stated = {name: _tupled(request.settings.get(name)) for name in _STATED}
    return problem_of_buffer(buffer, task, StatedActions(**stated), reporter.note)


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _refuse_other_data(request: TrainingRequest, buffer: Buffer) -> None:
    asked = request.buffer_fingerprint
    if asked is not None and asked != buffer.fingerprint:
        raise UsageError(
            f"{buffer.path} holds other data than are meant: their fingerprint is {buffer.fingerprint[:12]}, expected "
            f"{asked[:12]}. To train on them all the same, name them with --buffer"
        )


def _settings_of(
    request: TrainingRequest, buffer: Buffer, problem: ProblemSpec, resumed: Checkpoint | None
) -> OfflineSettings:
    if resumed is not None and buffer.fingerprint != resumed.buffer_fingerprint:
        raise UsageError(
            f"{request.resume_path} was trained on other data: their fingerprint is "
            f"{str(resumed.buffer_fingerprint)[:12]}, that of {buffer.path} is {buffer.fingerprint[:12]}"
        )
    place = str(buffer.path.absolute())

    def recommended() -> OfflineSettings:
        algorithm = load_algorithm(request.algorithm, problem.actions.kind)
        return OfflineSettings(buffer=place, **algorithm.recommended_training(problem))

    asked = {**request.settings, "buffer": place}
    return settled(OfflineSettings, asked, resumed, recommended=recommended, may_change=_MAY_CHANGE)


def _reward_transforms(settings: OfflineSettings, buffer: Buffer) -> list[Transform]:
    clipped: list[Transform] = [ClipRewards()] if settings.clip_rewards else []
    return [*clipped, ScaleRewards(reward_scale_of(buffer))] if settings.norm_rewards else clipped
