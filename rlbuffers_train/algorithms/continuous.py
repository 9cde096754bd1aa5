"""What methods for actions that are vectors share: scaling, optimizers, target networks, acting.

Inside of every algorithm actions lie in [-1, 1], scaled by the bounds of the task's space. The authors' codes
of TD3+BC and BCQ keep the task's units and multiply noise and outputs by the bound, which is the same where
the bounds are -1 and 1, as in all of D4RL's locomotion tasks; elsewhere losses on actions differ by the square
of the bound.
"""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import nn

from rlbuffers_train.algorithms.base import Algorithm, AlgorithmConfig, DiscountedConfig, Metrics
from rlbuffers_train.batch import TransitionBatch
from rlbuffers_train.problem import ProblemSpec
from rlbuffers_train.settings import AMOUNT, LAYERS, setting

__all__ = ["NUM_CRITICS", "ActorConfig", "ActorCriticConfig", "ContinuousAlgorithm", "descend", "frozen_copy"]

NUM_CRITICS = 2


@dataclass(frozen=True, kw_only=True)
class ActorConfig(AlgorithmConfig):
    """Hyperparameters of a network that acts."""

    batch_size: int = setting(256, "Transitions in an update.", **AMOUNT)
    actor_lr: float = setting(3e-4, "Learning rate of the actor.", above=0)
    hidden_sizes: tuple[int, ...] = setting((256, 256), "Widths of the hidden layers.", **LAYERS)


@dataclass(frozen=True, kw_only=True)
class ActorCriticConfig(ActorConfig, DiscountedConfig):
    """Hyperparameters of an actor and two critics with target networks that follow slowly."""

    critic_lr: float = setting(3e-4, "Learning rate of the critics.", above=0)
    tau: float = setting(0.005, "Share by which target networks move in an update.", above=0, at_most=1)


ConfigT = TypeVar("ConfigT", bound=ActorConfig)


class ContinuousAlgorithm(Algorithm[ConfigT], Generic[ConfigT]):
    """Scales actions on their way in and out; a subclass sees [-1, 1] only."""

    def __init__(
        self, problem: ProblemSpec, config: ConfigT, generator: np.random.Generator, device: torch.device
    ) -> None:
        self._center = torch.from_numpy(problem.box.center).to(device)
        self._half_range = torch.from_numpy(problem.box.half_range).to(device)
        self._is_scaled = bool(not self._center.any() and (self._half_range == 1.0).all())
        super().__init__(problem, config, generator, device)

    @classmethod
    def recommended_training(cls, problem: ProblemSpec) -> dict[str, Any]:
        """Return the reference's budget: a million updates, evaluated every 5,000."""
        return {"epoch": 200, "update_per_epoch": 5000}

    @property
    def num_inputs(self) -> int:
        """Size of an observation."""
        return math.prod(self.problem.observation_shape)

    @property
    def num_elements(self) -> int:
        """Size of an action."""
        return self.problem.box.size

    @abstractmethod
    def act(self, observations: torch.Tensor, generator: np.random.Generator, *, samples: bool) -> torch.Tensor:
        """Return actions in [-1, 1], float32 (B, D), for observations (B, F)."""

    def update(self, batch: TransitionBatch) -> Metrics:
        """Scale actions, flatten observations, and take one training step."""
        scaled = batch._replace(
            observations=batch.observations.flatten(start_dim=1),
            next_observations=batch.next_observations.flatten(start_dim=1),
            actions=self._scaled(batch.actions),
            next_actions=None if batch.next_actions is None else self._scaled(batch.next_actions),
        )
        return super().update(scaled)

    def _scaled(self, actions: torch.Tensor) -> torch.Tensor:
        return actions if self._is_scaled else (actions - self._center) / self._half_range

    def prepare(self, observations: torch.Tensor) -> torch.Tensor:
        """Return observations (B, *obs) as (B, F), standardized if so configured."""
        return super().prepare(observations).flatten(start_dim=1)

    def choose(self, observations: torch.Tensor, generator: np.random.Generator, *, samples: bool) -> torch.Tensor:
        """Return `act`'s actions in the task's units, float32 (B, D)."""
        # Rounding may carry a scaled action over its bound.
        actions = self.act(observations, generator, samples=samples).clamp(-1.0, 1.0)
        return actions * self._half_range + self._center

    def adam(self, parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Adam:
        """Return Adam with the defaults that all authors use but the learning rate."""
        return torch.optim.Adam(parameters, lr=lr, fused=True)


def descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """Take one step down the gradient of a scalar, with respect to the optimizer's own parameters."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    optimizer.step()


def frozen_copy(network: nn.Module) -> Any:
    """Return a copy of a network that no optimizer trains: a target network."""
    return copy.deepcopy(network).requires_grad_(False)
