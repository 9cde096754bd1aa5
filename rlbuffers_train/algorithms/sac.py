"""SAC: an actor that earns return and entropy, trained online; with CQL's addition it learns offline.

T. Haarnoja et al.: "Soft Actor-Critic Algorithms and Applications", 2018, arXiv:1812.05905, Algorithm 1
(numbering ours)::

    y       = r + gamma [ min_j Q'_j(s', a') - alpha log pi(a'|s') ],  a' ~ pi(s')                      (1)
                                              (gamma is 0 after a termination)
    critic  = sum over j of mean (y - Q_j(s, a))^2                                                      (2)
    actor   = mean [ alpha log pi(a|s) - min_j Q_j(s, a) ],  a ~ pi(s)                                  (3)
    entropy = - mean log alpha (log pi(a|s) + H)                                                        (4)

Primes mark target networks, which follow slowly after each update. pi is a Gaussian squashed by tanh. (4) keeps
the entropy at H, minus the number of an action's elements; a alpha that is not learned stays where it begins.

One thing departs from the paper, whose learning rates and sizes these are: (4) has log alpha where the paper has
alpha, as rlkit does, the code that CQL's authors build on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

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
from rlbuffers_train.networks.continuous import Scalar, TanhGaussianActor
from rlbuffers_train.networks.critics import CriticEnsemble
from rlbuffers_train.settings import setting
from rlbuffers_train.targets import soft_update, td_target

__all__ = ["SAC", "SACConfig"]


@dataclass(frozen=True, kw_only=True)
class SACConfig(ActorCriticConfig):
    """Hyperparameters; the defaults are the paper's."""

    alpha: float = setting(1.0, "Weight of the entropy, or where learning it begins.", above=0)
    alpha_lr: float = setting(3e-4, "Learning rate of alpha; 0 keeps alpha as it is.", at_least=0)


class SAC(ContinuousAlgorithm[SACConfig]):
    """See the module's docstring."""

    name = "sac"
    config_class: ClassVar[type[SACConfig]] = SACConfig
    compiled: ClassVar = ("critic_loss", "actor_loss")

    def build(self) -> None:
        """Make networks, target networks and optimizers."""
        config, inputs, elements = self.config, self.num_inputs, self.num_elements
        self.actor = TanhGaussianActor(inputs, config.hidden_sizes, elements).to(self.device)
        self.critics = CriticEnsemble(NUM_CRITICS, inputs, elements, config.hidden_sizes).to(self.device)
        self.target_critics = frozen_copy(self.critics)
        self.alpha = Scalar(config.alpha).to(self.device)
        self.actor_optimizer = self.adam(self.actor.parameters(), config.actor_lr)
        self.critic_optimizer = self.adam(self.critics.parameters(), config.critic_lr)
        self.alpha_optimizer = self.adam(self.alpha.parameters(), config.alpha_lr)

    def learn(self, batch: TransitionBatch) -> Metrics:
        """Descend equations (2), (3) and (4) in turn."""
        critic_loss = self.critic_loss(batch)
        descend(self.critic_optimizer, critic_loss)
        metrics = {"critic_loss": critic_loss.detach(), **self.update_actor(batch)}
        soft_update(self.target_critics, self.critics, self.config.tau)
        return metrics

    def critic_loss(self, batch: TransitionBatch) -> torch.Tensor:
        """Return equation (2)."""
        with torch.no_grad():
            noise = self.noise.normal(*batch.actions.shape)
            next_actions, log_probs = self.actor.sample(batch.next_observations, noise)
            next_values = self.target_critics(batch.next_observations, next_actions).amin(dim=0)
            targets = td_target(batch.rewards, batch.discounts, next_values - self.alpha() * log_probs)  # Eq. 1
        errors: torch.Tensor = self.critics(batch.observations, batch.actions) - targets  # (2, B)
        return errors.square().mean(dim=1).sum()  # Eq. 2

    def update_actor(self, batch: TransitionBatch) -> Metrics:
        """Descend equations (3) and (4)."""
        actor_loss, log_probs = self.actor_loss(batch)
        descend(self.actor_optimizer, actor_loss)
        log_probs = log_probs.detach()
        if self.config.alpha_lr > 0:
            descend(self.alpha_optimizer, -(self.alpha.log * (log_probs - self.num_elements)).mean())  # Eq. 4
        return {
            "actor_loss": actor_loss.detach(),
            "alpha": self.alpha().detach(),
            "entropy": -log_probs.mean(),
        }

    def actor_loss(self, batch: TransitionBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return equation (3), and log pi(a|s), float32 (B,)."""
        actions, log_probs = self.actor.sample(batch.observations, self.noise.normal(*batch.actions.shape))
        values = self.critics.judge(batch.observations, actions).amin(dim=0)
        return (self.alpha().detach() * log_probs - values).mean(), log_probs  # Eq. 3

    def act(self, observations: torch.Tensor, generator: np.random.Generator, *, samples: bool) -> torch.Tensor:
        """Return draws from pi, or its mode."""
        if not samples:
            return self.actor.mode(observations)
        noise = generator.standard_normal((len(observations), self.num_elements), np.float32)
        return self.actor.sample(observations, torch.from_numpy(noise).to(self.device))[0]
