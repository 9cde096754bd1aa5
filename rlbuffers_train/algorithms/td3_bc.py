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

import torch
from torch.nn import functional as F

from rlbuffers_train.algorithms.delayed_actor import DelayedActorAlgorithm, DelayedActorConfig
from rlbuffers_train.batch import TransitionBatch
from rlbuffers_train.settings import setting
from rlbuffers_train.targets import td_target

__all__ = ["TD3BC", "TD3BCConfig"]


@dataclass(frozen=True, kw_only=True)
class TD3BCConfig(DelayedActorConfig):
    """Hyperparameters; the defaults are the authors'."""

    norm_obs: bool = setting(True, "Whether observations are standardized by the buffer's mean and spread (0 or 1).")
    alpha: float = setting(2.5, "Weight of the critic beside that of the data.", at_least=0)
    clips_target_actions: bool = setting(True, "Whether noisy target actions are clipped to the bounds (0 or 1).")


class TD3BC(DelayedActorAlgorithm[TD3BCConfig]):
    """See the module's docstring."""

    name = "td3-bc"
    config_class = TD3BCConfig
    presets: ClassVar = {"tianshou": TD3BCConfig(n_step=3, clips_target_actions=False)}

    def critic_loss(self, batch: TransitionBatch) -> torch.Tensor:
        """Return equation (3)."""
        with torch.no_grad():
            next_actions = self.noisy_target_actions(batch)
            if self.config.clips_target_actions:
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
