"""Policies to act with, of a checkpoint or untrained, and the task of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlbuffers.errors import UsageError
from rlbuffers_train.algorithms.base import Algorithm
from rlbuffers_train.checkpoint import Checkpoint, build_algorithm, file_sha256, load_checkpoint
from rlbuffers_train.devices import pick_device, threads_for
from rlbuffers_train.playing.evaluation_task import known_task, problem_of_task
from rlbuffers_train.policy import ExploringPolicy, checked_eps
from rlbuffers_train.running.run_folder import find_checkpoint
from rlbuffers_train.running.training_request import TrainingRequest, make_algorithm

__all__ = ["LoadedPolicy", "load_policy", "policy_of", "task_of_checkpoint", "untrained_policy"]

Array = np.ndarray[Any, Any]


class LoadedPolicy(ExploringPolicy):
    """The policy of a checkpoint, with what a buffer's metadata say about it.

    Attributes
    ----------
    algorithm : str
        Name of the algorithm that trained it.
    task : str or None
        What it was evaluated on.
    checkpoint_sha256 : str or None
        Hexadecimal hash of the file; None for a policy that was never trained.
    """

    def __init__(
        self, algorithm: Algorithm[Any], task: str | None, checkpoint_sha256: str | None, eps: float, samples: bool
    ) -> None:
        super().__init__(
            algorithm.choose_by_array,
            algorithm.problem.actions,
            algorithm.policy.generator,
            eps_training=eps,
            eps_inference=eps,
            samples_inference=samples or algorithm.samples_inference,
        )
        self._problem = algorithm.problem
        self.algorithm = algorithm.name
        self.task = task
        self.checkpoint_sha256 = checkpoint_sha256

    def act(self, observations: Array) -> Array:
        """Choose an action for each of the observations; see `ExploringPolicy.act`."""
        with threads_for(self._problem):
            return super().act(observations)


def load_policy(
    path: Path | str, *, eps: float, generator: np.random.Generator, device: str = "cpu", samples: bool = False
) -> LoadedPolicy:
    """Load the policy of a checkpoint of any algorithm.

    Parameters
    ----------
    path : Path or str
        ``policy.pth``, ``best.pth`` or ``last.pth`` of a run, or its folder, which means its best epoch.
    eps : float
        Probability of a random action, in [0, 1].
    generator : numpy.random.Generator
        The policy's only source of randomness.
    device : str
        Where the networks compute.
    samples : bool
        Whether a policy that is a distribution is drawn from; by default it acts on the mode.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If the file is missing, something else, or damaged.
    """
    torch_device = pick_device(device)
    path = find_checkpoint(path)
    return policy_of(path, load_checkpoint(path, torch_device), torch_device, eps, generator, samples=samples)


def policy_of(
    path: Path,
    checkpoint: Checkpoint,
    device: torch.device,
    eps: float,
    generator: np.random.Generator,
    *,
    samples: bool = False,
) -> LoadedPolicy:
    """Return the policy of a checkpoint that was read from `path` already; see :func:`load_policy`."""
    eps = checked_eps(eps)
    algorithm = build_algorithm(checkpoint, generator, device)
    return LoadedPolicy(algorithm, checkpoint.task, file_sha256(path), eps, samples)


def untrained_policy(
    name: str, task: str, *, seed: int, eps: float, generator: np.random.Generator, device: str = "cpu"
) -> LoadedPolicy:
    """Return the policy that an algorithm begins its training with; a distribution is drawn from.

    Parameters
    ----------
    name, task : str
        Algorithm and environment.
    seed : int
        Of the weights.
    eps, generator, device
        See :func:`load_policy`.
    """
    problem = problem_of_task(task)
    request = TrainingRequest(name, task=task)
    algorithm = make_algorithm(request, problem, seed, None, pick_device(device))
    algorithm.policy.generator = generator
    return LoadedPolicy(algorithm, None, None, eps, samples=True)


def task_of_checkpoint(path: Path, checkpoint: Checkpoint, asked: str | None) -> str:
    """Return where the policy of a checkpoint is to act: where it is asked to, was evaluated, or its data come from.

    Raises
    ------
    UsageError
        If nothing names a task, there is no such task, or the policy cannot see or act in it.
    """
    named = asked or checkpoint.task or checkpoint.environment.get("id")
    if named is None:
        raise UsageError(f"{path}: neither the training nor its data name an environment; pass --task")
    task = known_task(str(named))
    problem = problem_of_task(task)
    if not problem.fits(checkpoint.problem):
        raise UsageError(f"{task} has {problem}, {path} is for {checkpoint.problem}. Name the right --task")
    return task
