"""The policies that `rlbuffers generate` lets play, trained where they have to be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rlbuffers.errors import UsageError
from rlbuffers.optional import require
from rlbuffers.paths import DEFAULT_LOG_DIR

if TYPE_CHECKING:
    from rlbuffers_train.loaded_policy import LoadedPolicy
    from rlbuffers_train.replay_recorder import ReplayRecorder

__all__ = ["ACTION_STREAM", "TrainedPolicy", "facts_of", "find_behavior", "load_behavior", "train_behavior"]

# Streams of random numbers that belong to one seed: expert's training, its actions here, the environments.
ACTION_STREAM = 1


class TrainedPolicy(NamedTuple):
    """What a checkpoint says of its policy.

    Attributes
    ----------
    path : Path
        The file.
    algorithm, task : str
        Who acts, and where.
    actions : str
        ``discrete`` or ``box``.
    """

    path: Path
    algorithm: str
    task: str
    actions: str


def find_behavior(path: Path, policy: str | None, task: str | None) -> TrainedPolicy:
    """Return what is to be known of a checkpoint, or of the best one in the folder of a run, before it acts.

    Raises
    ------
    UsageError
        If it is not of the policy that is asked for, or cannot act in the task.
    """
    torch = require("torch", extra="train", purpose="Playing a trained policy")
    from rlbuffers_train.checkpoint import load_checkpoint
    from rlbuffers_train.loaded_policy import task_of_checkpoint
    from rlbuffers_train.running.run_folder import find_checkpoint

    path = find_checkpoint(path)
    checkpoint = load_checkpoint(path, torch.device("cpu"))
    if policy not in (None, checkpoint.algorithm):
        raise UsageError(f"{path} is a policy of {checkpoint.algorithm}, not of {policy}; leave --policy out")
    task = task_of_checkpoint(path, checkpoint, task)
    return TrainedPolicy(path, checkpoint.algorithm, task, checkpoint.problem.actions.kind)


def load_behavior(policy: str, task: str, checkpoint: Path | None, **options: Any) -> LoadedPolicy:
    """Return the policy of a checkpoint, or an untrained one where there is none.

    Parameters
    ----------
    policy, task : str
        Algorithm, environment.
    checkpoint : Path or None
        What to load.
    **options
        ``seed``, ``eps`` and ``device``.
    """
    import numpy as np

    from rlbuffers_train import load_policy
    from rlbuffers_train.loaded_policy import untrained_policy

    seed, eps, device = options["seed"], options["eps"], options["device"]
    generator = np.random.default_rng([seed, ACTION_STREAM])
    if checkpoint is None:
        return untrained_policy(policy, task, seed=seed, eps=eps, generator=generator, device=device)
    # D4RL's policies draw from their distributions; one without a distribution ignores it.
    return load_policy(checkpoint, eps=eps, generator=generator, device=device, samples=True)


def facts_of(
    behavior: LoadedPolicy, level: str | None, checkpoint: Path | None, *, eps: float, seed: int
) -> dict[str, Any]:
    """Return what a buffer's metadata say of a policy; the level of one that somebody else trained is not known."""
    return {
        "name": behavior.algorithm,
        **({"level": level} if level else {}),
        "exploration": "epsilon-greedy, drawn anew at each step",
        "epsilon": eps,
        "trained_on": behavior.task,
        "checkpoint": None if checkpoint is None else checkpoint.name,
        "checkpoint_sha256": behavior.checkpoint_sha256,
        "seed": [seed, ACTION_STREAM],
    }


def train_behavior(
    policy: str,
    level: str,
    task: str,
    *,
    seed: int,
    device: str,
    stop_at: float | None,
    recorder: ReplayRecorder | None = None,
) -> Path:
    """Train a policy, or go on with one that an earlier call began; return its checkpoint.

    A training that is recorded begins anew, in a folder of its own: a buffer of a part of it would be none of it.
    """
    from rlbuffers_cli.console import console
    from rlbuffers_train import LAST, POLICY, LiveTable, TrainingInterrupted, TrainingRequest, train_online
    from rlbuffers_train.running.run_folder import new_logdir

    logdir = DEFAULT_LOG_DIR.expanduser() / task / policy / f"{level}-seed{seed}"
    if recorder is not None:
        logdir = new_logdir(task, policy, seed)
    begun = logdir / LAST
    request = TrainingRequest(
        policy,
        task=task,
        logdir=logdir,
        resume_path=begun if begun.exists() else None,
        device=device,
        settings={"seed": seed, "stop_at": stop_at},
    )
    try:
        with LiveTable(console, f"Training {policy} in {task}: {level}") as table:
            summary = train_online(request, table, recorder)
    except TrainingInterrupted as interruption:
        goes_on = "goes on with its training" if recorder is None else "begins anew, for all of a training is recorded"
        raise TrainingInterrupted(f"stopped; no buffer was written. The same command {goes_on}") from interruption
    console.print(f"{level}: return {summary.best}, kept in {logdir / POLICY}", soft_wrap=True)
    return logdir / POLICY
