"""Discrete CRR: behavior cloning, weighted by how much better an action is than the policy.

Z. Wang et al.: "Critic Regularized Regression", NeurIPS 2020, arXiv:2006.15134. Two heads on shared features: Q
and the logits of pi (numbering ours)::

    y         = r + gamma sum_a' pi_target(a'|s') Q_target(s', a')    (gamma is 0 after a termination)  (1)
    critic    = 1/2 mean (y - Q(s, a))^2                                                                (2)
    A(s, a)   = Q(s, a) - sum_b pi(b|s) Q(s, b)                                                         (3)
    f         = min(exp(A / beta), 20), or 1 where A > 0 and else 0                                     (4)
    actor     = - mean f log pi(a|s)                                                                    (5)
    gap       = mean (log sum_b exp Q(s, b) - Q(s, a))                                                  (6)
    loss      = actor + critic + min_q_weight * gap                                                     (7)

The policy is the argmax of pi. The paper has continuous actions: it estimates the sums over actions by
sampling, and its critic predicts a distribution of the return. With discrete actions the sums are exact.
(6) is CQL's regularizer, which the paper does not have and which is off by default.

f is a weight: no gradient flows through it. Tianshou 2.0.1 lets it flow, so that its actor loss also moves the
critic; and it multiplies log-likelihoods (B,) with weights (B, 1), so that every action gets the mean weight and
the actor clones all of the data. This file does not follow, and has no setting to do so. Tianshou's policy also
acts by drawing from pi, which `samples_inference` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch.nn import functional as F

from rlbuffers_train.algorithms.base import Metrics
from rlbuffers_train.algorithms.one_network import TargetNetworkAlgorithm, TargetNetworkConfig
from rlbuffers_train.batch import TransitionBatch
from rlbuffers_train.networks.discrete import TwoHeadedNetwork
from rlbuffers_train.problem import ProblemSpec
from rlbuffers_train.settings import AMOUNT, LAYERS, setting
from rlbuffers_train.targets import conservative_gap, td_target

__all__ = ["DiscreteCRR", "DiscreteCRRConfig"]


@dataclass(frozen=True, kw_only=True)
class DiscreteCRRConfig(TargetNetworkConfig):
    """Hyperparameters; the defaults are for Atari."""

    lr: float = setting(1e-4, "Learning rate of Adam.", above=0)
    batch_size: int = setting(32, "Transitions in an update.", **AMOUNT)
    target_update_freq: int = setting(100, "Updates from one copy of the target network to the next.", at_least=1)
    hidden_sizes: tuple[int, ...] = setting((512,), "Widths of the layers before the outputs.", **LAYERS)
    advantage: str = setting("exp", "How an advantage becomes a weight.", choices=("exp", "binary"))
    beta: float = setting(1.0, "Advantage that multiplies an exp weight by e.", above=0)
    max_weight: float = setting(20.0, "Largest exp weight.", above=0)
    min_q_weight: float = setting(0.0, "Weight of CQL's conservative gap; 0 is plain CRR.", at_least=0)
    samples_inference: bool = setting(False, "Whether evaluation draws from the policy (0 or 1).")


class DiscreteCRR(TargetNetworkAlgorithm[DiscreteCRRConfig]):
    """See the module's docstring."""

    name = "crr"
    config_class = DiscreteCRRConfig
    presets: ClassVar = {
        "tianshou": DiscreteCRRConfig(
            target_update_freq=500, min_q_weight=10.0, samples_inference=True, scale_pixels=False
        )
    }

    @classmethod
    def recommended(cls, problem: ProblemSpec) -> DiscreteCRRConfig:
        """Return the paper's hyperparameters for images, and some that learn quickly for vectors."""
        if problem.is_pixels:
            return DiscreteCRRConfig()
        return DiscreteCRRConfig(lr=1e-3, batch_size=128, hidden_sizes=(128, 128))

    @property
    def samples_inference(self) -> bool:
        """As the config says."""
        return self.config.samples_inference

    def make_network(self) -> TwoHeadedNetwork:
        """Return Q and the logits of pi over shared features."""
        return TwoHeadedNetwork(self.make_features(), self.config.hidden_sizes, self.problem.num_actions)

    def choose(self, observations: torch.Tensor, generator: np.random.Generator, *, samples: bool) -> torch.Tensor:
        """Return the likeliest actions, or ones drawn from pi."""
        logits = self.action_scores(observations)
        if samples:
            # The largest of logits with Gumbel noise is a draw from their distribution.
            logits = logits + torch.from_numpy(generator.gumbel(size=logits.shape)).to(logits)
        return logits.argmax(dim=1)

    def probabilities(
        self, observations: torch.Tensor, generator: np.random.Generator, *, samples: bool
    ) -> torch.Tensor:
        """Return pi, or all of it on the likeliest actions."""
        if not samples:
            return super().probabilities(observations, generator, samples=False)
        return self.action_scores(observations).softmax(dim=1)

    def action_scores(self, observations: torch.Tensor) -> torch.Tensor:
        """Return the logits of pi."""
        logits: torch.Tensor = self.network(observations)[1]
        return logits

    def loss(self, batch: TransitionBatch) -> tuple[torch.Tensor, Metrics]:
        """Return equation (7) and its parts."""
        with torch.no_grad():
            next_values, next_logits = self.target_network(batch.next_observations)
            expected = (next_logits.softmax(dim=1) * next_values).sum(dim=1)
            targets = td_target(batch.rewards, batch.discounts, expected)  # Eq. 1
        values, logits = self.network(batch.observations)
        value = values.gather(1, batch.actions.unsqueeze(1)).squeeze(1)
        critic_loss = 0.5 * F.mse_loss(value, targets)  # Eq. 2
        weights = self._weights(values.detach(), value.detach(), logits.detach())
        actor_loss = (weights * F.cross_entropy(logits, batch.actions, reduction="none")).mean()  # Eq. 5
        gap = conservative_gap(values, batch.actions).mean()  # Eq. 6
        loss = actor_loss + critic_loss + self.config.min_q_weight * gap  # Eq. 7
        parts = {"actor_loss": actor_loss, "critic_loss": critic_loss, "gap": gap, "mean_weight": weights.mean()}
        return loss, parts

    def _weights(self, values: torch.Tensor, value: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Return equation (4), float32 (B,)."""
        advantages = value - (logits.softmax(dim=1) * values).sum(dim=1)  # Eq. 3
        if self.config.advantage == "binary":
            return (advantages > 0).float()
        return (advantages / self.config.beta).exp().clamp(max=self.config.max_weight)
