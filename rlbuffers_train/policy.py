"""Acting: epsilon-greedy over action values, with exploration that follows one flag."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Protocol, Self

import numpy as np

__all__ = ["EpsilonGreedyPolicy", "Policy"]

Array = np.ndarray[Any, Any]


class Policy(Protocol):
    """What evaluation and data generation need of a policy."""

    def act(self, observations: Array) -> Array:
        """Choose actions, int64 (num_envs,), for observations (num_envs, *obs)."""

    def fork(self, generator: np.random.Generator) -> Self:
        """Return the same policy with randomness of its own."""


class EpsilonGreedyPolicy:
    """The action of the highest value, or with probability `eps` a uniformly random one.

    Which `eps` applies follows `is_within_training_step`. The trainer alone sets it, around its
    updates and its collection of training data; whoever else calls `act` gets `eps_inference`
    without asking for it.

    Parameters
    ----------
    action_values : callable
        Maps observations (num_envs, *obs) to values (num_envs, A); -inf forbids an action.
    num_actions : int
        A; random actions come from all of them.
    generator : numpy.random.Generator
        The only source of randomness; owned by the policy from here on.
    eps_training, eps_inference : float
        Probability of a random action within a training step and outside of one.
    """

    def __init__(
        self,
        action_values: Callable[[Array], Array],
        num_actions: int,
        generator: np.random.Generator,
        *,
        eps_training: float,
        eps_inference: float,
    ) -> None:
        self._action_values = action_values
        self._num_actions = num_actions
        self.generator = generator
        self.eps_training = eps_training
        self.eps_inference = eps_inference
        self.is_within_training_step = False

    @property
    def eps(self) -> float:
        """Probability of a random action right now."""
        return self.eps_training if self.is_within_training_step else self.eps_inference

    def act(self, observations: Array) -> Array:
        """Choose an action for each of the observations.

        Parameters
        ----------
        observations : array, shape (num_envs, *obs)

        Returns
        -------
        int64, shape (num_envs,)
        """
        count = len(observations)
        # Both are drawn whatever `eps` is, so that changing it changes no other draw.
        explores = self.generator.random(count) < self.eps
        explored = self.generator.integers(self._num_actions, size=count)
        if explores.all():
            return explored
        greedy = self._action_values(observations).argmax(axis=1)
        return np.where(explores, explored, greedy)

    def fork(self, generator: np.random.Generator) -> Self:
        """Return the same policy, flag included, with randomness of its own."""
        forked = copy.copy(self)
        forked.generator = generator
        return forked
