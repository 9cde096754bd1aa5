"""The expert whose rollouts become data: training in the environment itself."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.environments import make_vector_env
from rlbuffers.errors import UsageError
from rlbuffers.online.ring import RingBuffer
from rlbuffers.schema import BufferSpec, ColumnSpec
from rlbuffers_train.algorithms import entries_of, find_entry
from rlbuffers_train.algorithms.base import Algorithm
from rlbuffers_train.batch import make_batch
from rlbuffers_train.checkpoint import Checkpoint
from rlbuffers_train.default_data import DEFAULT_DATA
from rlbuffers_train.devices import COMPUTE_NAMES, pick_device, threads_for
from rlbuffers_train.networks.linear import onednn_as
from rlbuffers_train.online_settings import OnlineSettings, recommended_settings
from rlbuffers_train.playing.evaluation_task import problem_of_task
from rlbuffers_train.problem import BoxActions, ProblemSpec
from rlbuffers_train.replay_recorder import ReplayRecorder
from rlbuffers_train.running.reporting import Reporter, SilentReporter
from rlbuffers_train.running.run import TrainingRun
from rlbuffers_train.running.run_folder import POLICY
from rlbuffers_train.running.run_summary import RunSummary
from rlbuffers_train.running.steppers import OnlineStepper
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

__all__ = ["train_online", "train_qrdqn"]

_MAY_CHANGE = ("epoch", "eval_episodes", "stop_at", *COMPUTE_NAMES)


def train_qrdqn(
    task: str = DEFAULT_DATA["discrete"].task,
    *,
    seed: int = 0,
    logdir: Path | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> Path:
    """Train an expert with the recommended settings.

    Returns
    -------
    Path
        Checkpoint of the policy, for `rlbuffers_train.load_policy`.
    """
    request = TrainingRequest("qrdqn", task=task, logdir=logdir, device=device, settings={"seed": seed})
    return train_online(request, reporter).logdir / POLICY


def train_online(
    request: TrainingRequest, reporter: Reporter | None = None, recorder: ReplayRecorder | None = None
) -> RunSummary:
    """Train an algorithm in the environment itself, with replay of recent steps.

    Parameters
    ----------
    request : TrainingRequest
        Its buffer is not used.
    reporter : Reporter, optional
        Shows what happens; nothing is shown by default.
    recorder : ReplayRecorder, optional
        Is told every step; its buffer is complete when its context ends.

    Raises
    ------
    UsageError
        If there is no such task, or the request contradicts the checkpoint to be resumed.
    TrainingInterrupted
        After Ctrl-C, with everything saved.
    """
    reporter = reporter or SilentReporter()
    device = pick_device(request.device)
    resumed = load_resumed(request, device, online=True)
    task = request.task or (resumed and resumed.task) or DEFAULT_DATA[entries_of(request.algorithm)[0].actions].task
    refuse_other_task(request, task, None if resumed is None else resumed.task)
    problem = problem_of_task(task)
    if resumed is not None and not problem.fits(resumed.problem):
        raise UsageError(f"{task} has {problem}, {request.resume_path} is for {resumed.problem}")
    settings = settled(
        OnlineSettings,
        request.settings,
        resumed,
        recommended=lambda: recommended_settings(problem, task),
        may_change=_MAY_CHANGE,
    )
    algorithm = make_algorithm(request, problem, settings.seed, resumed, device)
    with ExitStack() as stack:
        stack.enter_context(threads_for(problem, algorithm.products, settings.threads))
        stack.enter_context(onednn_as(settings.onednn))
        algorithm.compute_as(settings)
        stepper = _make_stepper(algorithm, task, settings, resumed, resumed_path(request), recorder)
        stack.callback(stepper.close)
        run = TrainingRun(
            run_logdir(request, task, settings.seed),
            algorithm,
            reporter,
            task=task,
            seed=settings.seed,
            eval_episodes=settings.eval_episodes,
            settings=settings.to_json(),
            buffer_fingerprint=None,
            environment={},
            step_name=stepper.step_name,
            best_name=POLICY,
            resumed=resumed,
            resumed_path=resumed_path(request),
        )
        reporter.note(f"{request.algorithm}: {find_entry(request.algorithm, problem.actions.kind).paper}")
        reporter.note(f"{request.algorithm} in {task}; device: {device}; files: {run.logdir}")
        trainer = Trainer(
            run,
            stepper,
            num_epochs=settings.epoch,
            steps_per_epoch=settings.step_per_epoch,
            stop_at=settings.stop_at,
        )
        return trainer.train()


def _make_stepper(
    algorithm: Algorithm[Any],
    task: str,
    settings: OnlineSettings,
    resumed: Checkpoint | None,
    resumed_from: Path | None,
    recorder: ReplayRecorder | None,
) -> OnlineStepper:
    problem, gamma = algorithm.problem, algorithm.gamma
    replay = RingBuffer(_replay_spec(problem), settings.replay_capacity, settings.num_envs)
    sampler = replay.sampler(
        algorithm.config.batch_size,
        generator_of(settings.seed, Stream.REPLAY),
        n_step=algorithm.n_step or 1,
        gamma=gamma,
        columns=["observations", "actions", "rewards", "next_observations"],
    )
    # A resumed run plays other episodes than those that it has seen.
    first_step = 0 if resumed is None else resumed.step
    env_seed = int(generator_of(settings.seed, Stream.ENVIRONMENT, first_step).integers(2**30))
    stepper = OnlineStepper(
        algorithm,
        make_vector_env(task, settings.num_envs, env_seed, training=True),
        replay,
        sampler,
        partial(make_batch, gamma=gamma, device=algorithm.device, first_action=problem.first_action),
        update_per_step=settings.update_per_step,
        min_history=settings.min_history,
        eps_of_step=settings.eps_of_step,
        recorder=recorder,
    )
    if resumed is not None:
        resume_stepper(stepper, resumed, resumed_from)
    return stepper


def _replay_spec(problem: ProblemSpec) -> BufferSpec:
    shape, actions = problem.observation_shape, problem.actions
    action_column = (
        ColumnSpec("actions", np.dtype(np.float32), (actions.size,))
        if isinstance(actions, BoxActions)
        else ColumnSpec("actions", np.dtype(np.int64))
    )
    return BufferSpec(
        "episodes",
        [
            ColumnSpec("observations", np.dtype(problem.observation_dtype), shape),
            action_column,
            ColumnSpec("rewards", np.dtype(np.float32)),
            ColumnSpec("terminals", np.dtype(np.bool_)),
            ColumnSpec("timeouts", np.dtype(np.bool_)),
        ],
        stack=shape[0] if problem.is_pixels else 0,
    )
