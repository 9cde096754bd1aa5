"""What descendants of TD3 share: an actor that learns less often than its critics, and noise on target actions.

S. Fujimoto, H. van Hoof, D. Meger: "Addressing Function Approximation Error in Actor-Critic Methods", ICML 2018,
arXiv:1802.09477, Algorithm 1. All target networks follow when the actor learns.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

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
from rlbuffers_train.networks.continuous import DeterministicActor
from rlbuffers_train.networks.critics import CriticEnsemble
from rlbuffers_train.settings import setting
from rlbuffers_train.targets import soft_update

__all__ = ["DelayedActorAlgorithm", "DelayedActorConfig"]


@dataclass(frozen=True, kw_only=True)
class DelayedActorConfig(ActorCriticConfig):
    """Hyperparameters of TD3."""

    policy_noise: float = setting(0.2, "Spread of the noise on target actions, 1 is the bound.", at_least=0)
    noise_clip: float = setting(0.5, "c: largest noise on target actions.", at_least=0)
    actor_update_freq: int = setting(2, "Updates of the critics for one of the actor.", at_least=1)


ConfigT = TypeVar("ConfigT", bound=DelayedActorConfig)


class DelayedActorAlgorithm(ContinuousAlgorithm[ConfigT], Generic[ConfigT]):
    """A subclass wires its critics and derives both losses."""

    compiled: ClassVar = ("critic_loss", "actor_loss")

    def build(self) -> None:
        """Make networks, target networks and optimizers."""
        config = self.config
        self.actor = DeterministicActor(self.num_inputs, config.hidden_sizes, self.num_elements).to(self.device)
        self.critics = self.make_critics().to(self.device)
        self.target_actor = frozen_copy(self.actor)
        self.target_critics = frozen_copy(self.critics)
        self.actor_optimizer = self.adam(self.actor.parameters(), config.actor_lr)
        self.critic_optimizer = self.adam(self.critics.parameters(), config.critic_lr)

    def make_critics(self) -> CriticEnsemble:
        """Return Q_1 and Q_2."""
        return CriticEnsemble(NUM_CRITICS, self.num_inputs, self.num_elements, self.config.hidden_sizes)

    @abstractmethod
    def critic_loss(self, batch: TransitionBatch) -> torch.Tensor:
        """Return what every update descends in the critics' weights."""

    @abstractmethod
    def actor_loss(self, batch: TransitionBatch) -> torch.Tensor:
        """Return what some updates descend in the actor's weights."""

    def learn(self, batch: TransitionBatch) -> Metrics:
        """Descend the critics' loss, and when it is time the actor's."""
        critic_loss = self.critic_loss(batch)
        descend(self.critic_optimizer, critic_loss)
        metrics = {"critic_loss": critic_loss.detach()}
        if self.num_updates % self.config.actor_update_freq == 0:
            actor_loss = self.actor_loss(batch)
            descend(self.actor_optimizer, actor_loss)
            soft_update(self.target_critics, self.critics, self.config.tau)
            soft_update(self.target_actor, self.actor, self.config.tau)
            metrics["actor_loss"] = actor_loss.detach()
        return metrics

    def noisy_target_actions(self, batch: TransitionBatch) -> torch.Tensor:
        """Return pi'(s') + clip(N(0, noise), -c, c), which may lie beyond the bounds."""
        config = self.config
        noise = config.policy_noise * self.noise.normal(*batch.actions.shape)
        actions: torch.Tensor = self.target_actor(batch.next_observations)
        return actions + noise.clamp(-config.noise_clip, config.noise_clip)

    def act(self, observations: torch.Tensor, generator: np.random.Generator, *, samples: bool) -> torch.Tensor:
        """Return pi(s)."""
        actions: torch.Tensor = self.actor(observations)
        return actions
