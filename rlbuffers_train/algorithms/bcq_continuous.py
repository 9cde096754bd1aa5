"""BCQ: the best of a few actions that the behavior policy might have taken, slightly perturbed.

S. Fujimoto, D. Meger, D. Precup: "Off-Policy Deep Reinforcement Learning without Exploration", ICML 2019,
arXiv:1812.02900, Algorithm 1. A variational autoencoder G of actions, a perturbation xi, two critics
(numbering ours)::

    z, a_hat  = z ~ N(mu, sigma) of the encoder at (s, a), a_hat = decoder(s, z)
    vae       = mean (a - a_hat)^2 + kl_weight * mean KL(N(mu, sigma) || N(0, 1))                     (1)
    G(s)      = decoder(s, z), z ~ N(0, 1) clipped to [-0.5, 0.5]                                     (2)
    pi(s, a)  = a + phi tanh xi(s, a), clipped to [-1, 1]                                             (3)
    y         = r + gamma max over a_i of [ lambda min_j Q'_j(s', a_i) + (1 - lambda) max_j Q'_j(s', a_i) ],
                a_i = pi'(s', G(s')) for i = 1 to n           (gamma is 0 after a termination)        (4)
    critic    = sum over j of mean (y - Q_j(s, a))^2                                                  (5)
    actor     = - mean Q_1(s, pi(s, G(s)))                                                            (6)
    act       = the best by Q_1 of 100 actions pi(s, G(s))                                            (7)

Primes mark target networks, which follow slowly after each update. The order is that of the authors' code
(github.com/sfujim/BCQ): autoencoder, critics, actor.

The targets of Tianshou 2.0.1 use actions of the autoencoder as they are, not perturbed: `perturbs_targets` 0 does
the same.
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
from rlbuffers_train.networks.critics import CriticEnsemble
from rlbuffers_train.networks.features import mlp
from rlbuffers_train.networks.vae import ConditionalVAE
from rlbuffers_train.settings import AMOUNT, LAYERS, setting
from rlbuffers_train.targets import soft_update, td_target

__all__ = ["ContinuousBCQ", "ContinuousBCQConfig"]

_LATENT_CLIP = 0.5


@dataclass(frozen=True, kw_only=True)
class ContinuousBCQConfig(ActorCriticConfig):
    """Hyperparameters; the defaults are the authors'."""

    batch_size: int = setting(100, "Transitions in an update.", **AMOUNT)
    actor_lr: float = setting(1e-3, "Learning rate of the perturbation.", above=0)
    critic_lr: float = setting(1e-3, "Learning rate of the critics.", above=0)
    vae_lr: float = setting(1e-3, "Learning rate of the autoencoder.", above=0)
    hidden_sizes: tuple[int, ...] = setting((400, 300), "Widths of perturbation and critics.", **LAYERS)
    vae_hidden_sizes: tuple[int, ...] = setting((750, 750), "Widths of the autoencoder.", **LAYERS)
    max_perturbation: float = setting(0.05, "phi: largest change of an action, 1 is the bound.", at_least=0)
    min_weight: float = setting(0.75, "lambda: weight of the smaller critic.", at_least=0, at_most=1)
    kl_weight: float = setting(0.5, "Weight of the divergence in the autoencoder's loss.", at_least=0)
    num_target_actions: int = setting(10, "Actions that targets choose from.", **AMOUNT)
    num_act_actions: int = setting(100, "Actions that the policy chooses from.", **AMOUNT)
    perturbs_targets: bool = setting(True, "Whether targets perturb their actions (0 or 1).")


class ContinuousBCQ(ContinuousAlgorithm[ContinuousBCQConfig]):
    """See the module's docstring."""

    name = "bcq"
    config_class = ContinuousBCQConfig
    compiled: ClassVar = ("vae_loss", "critic_loss", "actor_loss")
    presets: ClassVar = {
        "tianshou": ContinuousBCQConfig(
            batch_size=256, hidden_sizes=(256, 256), vae_hidden_sizes=(512, 512), perturbs_targets=False
        )
    }

    def build(self) -> None:
        """Make networks, target networks and optimizers."""
        config, inputs, elements = self.config, self.num_inputs, self.num_elements
        self.vae = ConditionalVAE(inputs, elements, config.vae_hidden_sizes, 2 * elements).to(self.device)
        self.perturbation = mlp(inputs + elements, config.hidden_sizes, elements).to(self.device)
        self.critics = CriticEnsemble(NUM_CRITICS, inputs, elements, config.hidden_sizes).to(self.device)
        self.target_perturbation = frozen_copy(self.perturbation)
        self.target_critics = frozen_copy(self.critics)
        self.vae_optimizer = self.adam(self.vae.parameters(), config.vae_lr)
        self.actor_optimizer = self.adam(self.perturbation.parameters(), config.actor_lr)
        self.critic_optimizer = self.adam(self.critics.parameters(), config.critic_lr)

    def learn(self, batch: TransitionBatch) -> Metrics:
        """Descend equations (1), (5) and (6) in turn."""
        vae_loss = self.vae_loss(batch)
        descend(self.vae_optimizer, vae_loss)
        critic_loss = self.critic_loss(batch)
        descend(self.critic_optimizer, critic_loss)
        actor_loss = self.actor_loss(batch)
        descend(self.actor_optimizer, actor_loss)
        soft_update(self.target_critics, self.critics, self.config.tau)
        soft_update(self.target_perturbation, self.perturbation, self.config.tau)
        return {
            "vae_loss": vae_loss.detach(),
            "critic_loss": critic_loss.detach(),
            "actor_loss": actor_loss.detach(),
        }

    def vae_loss(self, batch: TransitionBatch) -> torch.Tensor:
        """Return equation (1)."""
        noise = self.noise.normal(len(batch.actions), self.vae.num_latent)
        mean, log_std = self.vae.encode(batch.observations, batch.actions)
        std = log_std.exp()
        latent = mean + std * noise
        divergence = (-log_std + 0.5 * (std.square() + mean.square() - 1.0)).mean()
        return F.mse_loss(self.vae.decode(batch.observations, latent), batch.actions) + (
            self.config.kl_weight * divergence  # Eq. 1
        )

    def critic_loss(self, batch: TransitionBatch) -> torch.Tensor:
        """Return equation (5)."""
        with torch.no_grad():
            observations = batch.next_observations.repeat_interleave(self.config.num_target_actions, dim=0)
            actions = self._generate(observations, self.noise.normal(len(observations), self.vae.num_latent))
            if self.config.perturbs_targets:
                actions = self._perturb(self.target_perturbation, observations, actions)
            values = self.target_critics(observations, actions)  # (2, B n)
            weight = self.config.min_weight
            mixed = weight * values.amin(dim=0) + (1.0 - weight) * values.amax(dim=0)
            best = mixed.view(len(batch.rewards), -1).amax(dim=1)
            targets = td_target(batch.rewards, batch.discounts, best)  # Eq. 4
        errors: torch.Tensor = self.critics(batch.observations, batch.actions) - targets  # (2, B)
        return errors.square().mean(dim=1).sum()  # Eq. 5

    def actor_loss(self, batch: TransitionBatch) -> torch.Tensor:
        """Return equation (6)."""
        with torch.no_grad():
            generated = self._generate(
                batch.observations, self.noise.normal(len(batch.observations), self.vae.num_latent)
            )
        actions = self._perturb(self.perturbation, batch.observations, generated)
        values = self.critics.judge(batch.observations, actions, 1)[0]
        return -values.mean()  # Eq. 6

    def _generate(self, observations: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Return equation (2), float32 (B, D)."""
        return self.vae.decode(observations, noise.clamp(-_LATENT_CLIP, _LATENT_CLIP))

    def _perturb(
        self, perturbation: torch.nn.Module, observations: torch.Tensor, actions: torch.Tensor
    ) -> torch.Tensor:
        """Return equation (3), float32 (B, D)."""
        change = self.config.max_perturbation * torch.tanh(perturbation(torch.cat([observations, actions], dim=-1)))
        return (actions + change).clamp(-1.0, 1.0)

    def act(self, observations: torch.Tensor, generator: np.random.Generator, *, samples: bool) -> torch.Tensor:
        """Return equation (7)."""
        count = self.config.num_act_actions
        repeated = observations.repeat_interleave(count, dim=0)
        noise = generator.standard_normal((len(repeated), self.vae.num_latent), np.float32)
        generated = self._generate(repeated, torch.from_numpy(noise).to(self.device))
        actions = self._perturb(self.perturbation, repeated, generated)
        best = self.critics.judge(repeated, actions, 1)[0].view(-1, count).argmax(dim=1)
        return actions.view(-1, count, self.num_elements)[torch.arange(len(observations), device=self.device), best]
