"""Acting: what an algorithm considers best, with exploration that follows one flag."""

from __future__ import annotations

import copy
from typing import Any, Protocol, Self

import numpy as np

from rlbuffers.errors import UsageError
from rlbuffers_train.problem import BoxActions, DiscreteActions

__all__ = ["Chooser", "ExploringPolicy", "Policy", "checked_eps"]

Array = np.ndarray[Any, Any]


class Policy(Protocol):
    """What evaluation and data generation need of a policy."""

    def act(self, observations: Array) -> Array:
        """Choose actions (num_envs, ...) for observations (num_envs, *obs)."""

    def fork(self, generator: np.random.Generator) -> Self:
        """Return the same policy with randomness of its own."""


class Chooser(Protocol):
    """How an algorithm chooses actions; a policy adds the random ones."""

    def __call__(self, observations: Array, generator: np.random.Generator, *, samples: bool) -> Array:
        """Return actions for observations (num_envs, *obs).

        A method whose policy is a distribution draws from it where `samples` is set and returns its
        mode otherwise; others ignore it. What is random comes from `generator`.
        """


class ExploringPolicy:
    """The algorithm's choice, or with probability `eps` a uniformly random action.

    Which `eps` applies, and whether a distribution is sampled, follows `is_within_training_step`. The
    trainer alone sets it, around its updates and its collection of training data; whoever else
    calls `act` gets what is meant for inference without asking for it.

    Parameters
    ----------
    choose : Chooser
        The algorithm's choice.
    actions : DiscreteActions or BoxActions
        Where random actions come from.
    generator : numpy.random.Generator
        The only source of randomness; owned by the policy from here on.
    eps_training, eps_inference : float
        Probability of a random action within a training step and outside of one.
    samples_inference : bool
        Whether a distribution is sampled outside of training steps too; within them it always is.
    """

    def __init__(
        self,
        choose: Chooser,
        actions: DiscreteActions | BoxActions,
        generator: np.random.Generator,
        *,
        eps_training: float,
        eps_inference: float,
        samples_inference: bool = False,
    ) -> None:
        self._choose = choose
        self._actions = actions
        self.generator = generator
        self.eps_training = eps_training
        self.eps_inference = eps_inference
        self.samples_inference = samples_inference
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
        int64, shape (num_envs,), or float32, shape (num_envs, D)
        """
        count = len(observations)
        # Both are drawn whatever `eps` is, so that changing it changes no other draw.
        explores = self.generator.random(count) < self.eps
        explored = self._actions.draw(count, self.generator)
        if explores.all():
            return explored
        samples = self.is_within_training_step or self.samples_inference
        chosen: Array = self._actions.numbered(self._choose(observations, self.generator, samples=samples))
        chosen[explores] = explored[explores]
        return chosen

    def fork(self, generator: np.random.Generator) -> Self:
        """Return the same policy, flag included, with randomness of its own."""
        forked = copy.copy(self)
        forked.generator = generator
        return forked


def checked_eps(eps: float) -> float:
    """Return `eps` if it lies in [0, 1].

    Raises
    ------
    UsageError
        If not.
    """
    if not 0 <= eps <= 1:
        raise UsageError(f"eps must lie in [0, 1], got {eps}")
    return float(eps)
