"""TD3+BC: TD3 with a term that keeps the actor near the data, on standardized observations.

S. Fujimoto, S. Gu: "A Minimalist Approach to Offline Reinforcement Learning", NeurIPS 2021, arXiv:2106.06860, on
TD3 (Fujimoto et al. 2018, arXiv:1802.09477, Algorithm 1; numbering ours)::

    a'        = pi'(s') + clip(N(0, noise), -c, c), clipped to [-1, 1]                   (1)
    y         = r + gamma min_j Q'_j(s', a')          (gamma is 0 after a termination)   (2)
    critic    = sum over j of mean (y - Q_j(s, a))^2                                     (3)
    lambda    = alpha / mean |Q_1(s, pi(s))|                       (a constant)          (4)
    actor     = - lambda mean Q_1(s, pi(s)) + mean (pi(s) - a)^2                         (5)

Primes mark target networks. Every second update descends (5) too and lets all target networks follow. As in the
authors' code (github.com/sfujim/TD3_BC) observations are standardized by mean and spread of the data, with 0.001
added to the spread.

Tianshou 2.0.1 does not clip a' to the bounds, and its example sums 3 rewards: `clips_target_actions` 0 and `n_step` 3
do the same. Its actor learns in the first update, third and so on, not in the second, fourth and so on, and it adds
1.2e-7 to the variance where 0.001 is added to the spread here; no setting follows it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch.nn import functional as F

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
from rlbuffers_train.targets import soft_update, td_target

__all__ = ["TD3BC", "TD3BCConfig"]


@dataclass(frozen=True, kw_only=True)
class TD3BCConfig(ActorCriticConfig):
    """Hyperparameters; the defaults are the authors'."""

    norm_obs: bool = setting(True, "Whether observations are standardized by the buffer's mean and spread (0 or 1).")
    alpha: float = setting(2.5, "Weight of the critic beside that of the data.", at_least=0)
    policy_noise: float = setting(0.2, "Spread of the noise on target actions, 1 is the bound.", at_least=0)
    noise_clip: float = setting(0.5, "c: largest noise on target actions.", at_least=0)
    actor_update_freq: int = setting(2, "Updates of the critics for one of the actor.", at_least=1)
    clips_target_actions: bool = setting(True, "Whether noisy target actions are clipped to the bounds (0 or 1).")


class TD3BC(ContinuousAlgorithm[TD3BCConfig]):
    """See the module's docstring."""

    name = "td3-bc"
    config_class = TD3BCConfig
    compiled: ClassVar = ("critic_loss", "actor_loss")
    presets: ClassVar = {"tianshou": TD3BCConfig(n_step=3, clips_target_actions=False)}

    def build(self) -> None:
        """Make networks, target networks and optimizers."""
        config, inputs, elements = self.config, self.num_inputs, self.num_elements
        self.actor = DeterministicActor(inputs, config.hidden_sizes, elements).to(self.device)
        self.critics = CriticEnsemble(NUM_CRITICS, inputs, elements, config.hidden_sizes).to(self.device)
        self.target_actor = frozen_copy(self.actor)
        self.target_critics = frozen_copy(self.critics)
        self.actor_optimizer = self.adam(self.actor.parameters(), config.actor_lr)
        self.critic_optimizer = self.adam(self.critics.parameters(), config.critic_lr)

    def learn(self, batch: TransitionBatch) -> Metrics:
        """Descend equation (3), and every second time (5)."""
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

    def critic_loss(self, batch: TransitionBatch) -> torch.Tensor:
        """Return equation (3)."""
        config = self.config
        with torch.no_grad():
            noise = (config.policy_noise * self.noise.normal(*batch.actions.shape)).clamp(
                -config.noise_clip, config.noise_clip
            )
            next_actions = self.target_actor(batch.next_observations) + noise
            if config.clips_target_actions:
                next_actions = next_actions.clamp(-1.0, 1.0)  # Eq. 1
            next_values = self.target_critics(batch.next_observations, next_actions).amin(dim=0)
            targets = td_target(batch.rewards, batch.discounts, next_values)  # Eq. 2
        errors: torch.Tensor = self.critics(batch.observations, batch.actions) - targets  # (2, B)
        return errors.square().mean(dim=1).sum()  # Eq. 3

    def actor_loss(self, batch: TransitionBatch) -> torch.Tensor:
        """Return equation (5)."""
        actions = self.actor(batch.observations)
        values = self.critics.judge(batch.observations, actions, 1)[0]
        weight = self.config.alpha / values.detach().abs().mean()  # Eq. 4
        return -weight * values.mean() + F.mse_loss(actions, batch.actions)  # Eq. 5

    def act(self, observations: torch.Tensor, generator: np.random.Generator, *, samples: bool) -> torch.Tensor:
        """Return pi(s)."""
        actions: torch.Tensor = self.actor(observations)
        return actions
