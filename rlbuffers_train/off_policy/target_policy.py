"""The policy that is to be judged, and the values of what it would do: a sum where its probabilities are known.

With probability eps it acts uniformly at random, else as its algorithm chooses. That mixture is computed, never drawn.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from rlbuffers_train.algorithms.base import Algorithm
from rlbuffers_train.networks.critics import CriticEnsemble
from rlbuffers_train.networks.discrete import ActionScores
from rlbuffers_train.networks.features import make_features

__all__ = ["TargetPolicy", "target_policy"]


class TargetPolicy(ABC):
    """A policy with one kind of actions, and networks Q(s, a) for these.

    Parameters
    ----------
    algorithm : Algorithm
        Chooses, as it does in evaluation: by its mode, or by draws if it is meant to be drawn from.
    eps : float
        Share of random actions, in [0, 1].
    generator : numpy.random.Generator
        Of draws.
    """

    # What `closeness` measures.
    closeness_name: ClassVar[str]

    def __init__(self, algorithm: Algorithm[Any], eps: float, generator: np.random.Generator) -> None:
        self.algorithm = algorithm
        self.eps = eps
        self._generator = generator
        self._samples = algorithm.samples_inference

    @abstractmethod
    def make_network(self, hidden_sizes: Sequence[int]) -> nn.Module:
        """Return a network for Q."""

    @abstractmethod
    def values_of(self, network: nn.Module, inputs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Return Q(s, a), float32 (B,).

        Parameters
        ----------
        network : Module
            Made by `make_network`.
        inputs : tensor, shape (B, *obs)
            Observations as the network takes them.
        actions : int64, shape (B,), or float32, shape (B, D)
            As data have them.
        """

    @abstractmethod
    def expected_values(self, network: nn.Module, inputs: torch.Tensor, observations: torch.Tensor) -> torch.Tensor:
        """Return the mean of Q(s, a) over a ~ pi(s), float32 (B,).

        Parameters
        ----------
        network, inputs
            See `values_of`.
        observations : tensor, shape (B, *obs)
            The same observations, as data have them.
        """

    @abstractmethod
    def closeness(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Return for each row of data how near pi is to the action there, float32 (B,); see `closeness_name`."""


class _DiscretePolicy(TargetPolicy):
    """Numbered actions: expectations are exact sums, with all of pi on one draw where an algorithm knows no more."""

    closeness_name = "probability of the data's actions"

    def make_network(self, hidden_sizes: Sequence[int]) -> ActionScores:
        # docstring inherited
        problem = self.algorithm.problem
        return ActionScores(make_features(problem, scales_pixels=True), hidden_sizes, problem.num_actions)

    def values_of(self, network: nn.Module, inputs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        # docstring inherited
        values: torch.Tensor = network(inputs).gather(1, actions.unsqueeze(1)).squeeze(1)
        return values

    def expected_values(self, network: nn.Module, inputs: torch.Tensor, observations: torch.Tensor) -> torch.Tensor:
        # docstring inherited
        values: torch.Tensor = network(inputs)  # (B, A)
        return (self._probabilities(observations) * values).sum(dim=1)

    def closeness(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        # docstring inherited
        return self._probabilities(observations).gather(1, actions.unsqueeze(1)).squeeze(1)

    def _probabilities(self, observations: torch.Tensor) -> torch.Tensor:
        """Return pi(a|s), float32 (B, A)."""
        prepared = self.algorithm.prepare(observations)
        chosen = self.algorithm.probabilities(prepared, self._generator, samples=self._samples)
        return (1.0 - self.eps) * chosen + self.eps / self.algorithm.problem.num_actions


class _BoxPolicy(TargetPolicy):
    """Actions that are vectors: one action of the algorithm's and, with eps, one random action stand for pi."""

    closeness_name = "mean squared distance to the data's actions"

    def __init__(self, algorithm: Algorithm[Any], eps: float, generator: np.random.Generator) -> None:
        super().__init__(algorithm, eps, generator)
        box = algorithm.problem.box
        self._center = torch.from_numpy(box.center).to(algorithm.device)
        self._half_range = torch.from_numpy(box.half_range).to(algorithm.device)

    def make_network(self, hidden_sizes: Sequence[int]) -> CriticEnsemble:
        # docstring inherited
        problem = self.algorithm.problem
        return CriticEnsemble(1, math.prod(problem.observation_shape), problem.box.size, hidden_sizes)

    def values_of(self, network: nn.Module, inputs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        # docstring inherited
        values: torch.Tensor = network(inputs.flatten(start_dim=1), self._scaled(actions))[0]
        return values

    def expected_values(self, network: nn.Module, inputs: torch.Tensor, observations: torch.Tensor) -> torch.Tensor:
        # docstring inherited
        values = self.values_of(network, inputs, self._chosen(observations))
        if not self.eps:
            return values
        drawn = self.algorithm.problem.box.draw(len(inputs), self._generator)
        explored = self.values_of(network, inputs, torch.from_numpy(drawn).to(inputs.device))
        return (1.0 - self.eps) * values + self.eps * explored

    def closeness(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Return the mean over elements, each scaled to [-1, 1] by its bounds; random actions are left out."""
        return (self._scaled(self._chosen(observations)) - self._scaled(actions)).square().mean(dim=1)

    def _chosen(self, observations: torch.Tensor) -> torch.Tensor:
        prepared = self.algorithm.prepare(observations)
        return self.algorithm.choose(prepared, self._generator, samples=self._samples)

    def _scaled(self, actions: torch.Tensor) -> torch.Tensor:
        return (actions - self._center) / self._half_range


_KINDS = {"discrete": _DiscretePolicy, "box": _BoxPolicy}


def target_policy(algorithm: Algorithm[Any], eps: float, generator: np.random.Generator) -> TargetPolicy:
    """Return the policy of an algorithm, for the kind of its actions; see `TargetPolicy`."""
    return _KINDS[algorithm.problem.actions.kind](algorithm, eps, generator)
