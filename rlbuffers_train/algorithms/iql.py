"""IQL: values of actions in the data only, and an actor cloned by its advantage.

I. Kostrikov, A. Nair, S. Levine: "Offline Reinforcement Learning with Implicit Q-Learning", ICLR 2022,
arXiv:2110.06169, Algorithm 1 (numbering ours)::

    u       = min_j Q'_j(s, a) - V(s)
    value   = mean |expectile - [u < 0]| u^2                                            (1)
    actor   = - mean min(exp(temperature u), 100) log pi(a|s)                           (2)
    critic  = sum over j of mean (r + gamma V(s') - Q_j(s, a))^2                        (3)
                                              (gamma is 0 after a termination)

Primes mark target networks, which follow slowly after each update. The order is that of the authors' code
(github.com/ikostrikov/implicit_q_learning): value, actor with the new value, critics with the new value. pi is a
Gaussian whose mean goes through tanh and whose spread is one for all observations; it acts by its mean. The
actor's learning rate falls to 0 along a cosine.

As the authors do for locomotion, rewards are scaled so that the returns of the data span 1,000 (`--norm-rewards 0`
uses them as stored); for AntMaze they subtract 1 from each reward in place of that. Departures: weights begin as
torch initializes them, not orthogonal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from rlbuffers_train.algorithms.base import Metrics
from rlbuffers_train.algorithms.continuous import (
    NUM_CRITICS,
    ActorCriticConfig,
    ContinuousAlgorithm,
    descend,
    frozen_copy,
)
from rlbuffers_train.batch import TransitionBatch
from rlbuffers_train.networks.continuous import GaussianActor, ValueNetwork
from rlbuffers_train.networks.critics import CriticEnsemble
from rlbuffers_train.problem import ProblemSpec
from rlbuffers_train.settings import setting
from rlbuffers_train.targets import expectile_loss, soft_update, td_target

__all__ = ["IQL", "IQLConfig"]


@dataclass(frozen=True, kw_only=True)
class IQLConfig(ActorCriticConfig):
    """Hyperparameters; the defaults are the authors' for locomotion."""

    value_lr: float = setting(3e-4, "Learning rate of V.", above=0)
    expectile: float = setting(0.7, "How far V leans to the best actions; 0.5 is their mean.", above=0, below=1)
    temperature: float = setting(3.0, "How fast the weight of an action grows with its advantage.", at_least=0)
    max_weight: float = setting(100.0, "Largest weight of an action.", above=0)
    decay_updates: int = setting(1_000_000, "Updates until the actor's learning rate is 0; 0: never.", at_least=0)


class IQL(ContinuousAlgorithm[IQLConfig]):
    """See the module's docstring."""

    name = "iql"
    config_class = IQLConfig
    compiled: ClassVar = ("actor_loss", "critic_loss")

    @classmethod
    def recommended_training(cls, problem: ProblemSpec) -> dict[str, Any]:
        """Return the reference's budget, with rewards scaled as the authors do."""
        return {**super().recommended_training(problem), "norm_rewards": True}

    def build(self) -> None:
        """Make networks, target networks and optimizers."""
        config, inputs, elements = self.config, self.num_inputs, self.num_elements
        self.actor = GaussianActor(inputs, config.hidden_sizes, elements).to(self.device)
        self.critics = CriticEnsemble(NUM_CRITICS, inputs, elements, config.hidden_sizes).to(self.device)
        self.value = ValueNetwork(inputs, config.hidden_sizes).to(self.device)
        self.target_critics = frozen_copy(self.critics)
        self.actor_optimizer = self.adam(self.actor.parameters(), config.actor_lr)
        self.critic_optimizer = self.adam(self.critics.parameters(), config.critic_lr)
        self.value_optimizer = self.adam(self.value.parameters(), config.value_lr)

    def learn(self, batch: TransitionBatch) -> Metrics:
        """Descend equations (1), (2) and (3) in turn."""
        with torch.no_grad():
            values = self.target_critics(batch.observations, batch.actions).amin(dim=0)  # (B,)
        value_loss = expectile_loss(values - self.value(batch.observations), self.config.expectile).mean()  # Eq. 1
        descend(self.value_optimizer, value_loss)
        actor_loss = self.actor_loss(batch, values)
        self._set_actor_lr()
        descend(self.actor_optimizer, actor_loss)
        critic_loss = self.critic_loss(batch)
        descend(self.critic_optimizer, critic_loss)
        soft_update(self.target_critics, self.critics, self.config.tau)
        return {
            "value_loss": value_loss.detach(),
            "critic_loss": critic_loss.detach(),
            "actor_loss": actor_loss.detach(),
        }

    def actor_loss(self, batch: TransitionBatch, values: torch.Tensor) -> torch.Tensor:
        """Return equation (2) for values (B,) of the batch's actions."""
        with torch.no_grad():
            advantages = values - self.value(batch.observations)
            weights: torch.Tensor = (self.config.temperature * advantages).exp().clamp(max=self.config.max_weight)
        log_probs: torch.Tensor = self.actor.log_prob(batch.observations, batch.actions)
        return -(weights * log_probs).mean()  # Eq. 2

    def critic_loss(self, batch: TransitionBatch) -> torch.Tensor:
        """Return equation (3)."""
        with torch.no_grad():
            targets = td_target(batch.rewards, batch.discounts, self.value(batch.next_observations))
        errors: torch.Tensor = self.critics(batch.observations, batch.actions) - targets  # (2, B)
        return errors.square().mean(dim=1).sum()  # Eq. 3

    def _set_actor_lr(self) -> None:
        if self.config.decay_updates:
            progress = min((self.num_updates - 1) / self.config.decay_updates, 1.0)
            self.actor_optimizer.param_groups[0]["lr"] = self.config.actor_lr * 0.5 * (1 + math.cos(math.pi * progress))

    def act(self, observations: torch.Tensor, generator: np.random.Generator, *, samples: bool) -> torch.Tensor:
        """Return the mean of pi, or draws from it."""
        mean: torch.Tensor = self.actor.mode(observations)
        if not samples:
            return mean
        noise = generator.standard_normal(mean.shape, np.float32)
        return mean + self.actor.std() * torch.from_numpy(noise).to(self.device)
