"""Discrete BCQ: Q-learning over the actions that the behavior policy is likely to take.

S. Fujimoto, E. Conti, M. Ghavamzadeh, J. Pineau: "Benchmarking Batch Deep Reinforcement Learning
Algorithms", 2019, arXiv:1910.01708. Two heads on shared convolutions: Q, and a generative model G
of the behavior policy, which is behavioral cloning. With threshold tau (numbering ours)::

    likely(s) = { a : G(a|s) / max_b G(b|s) > tau }                                      (1)
    a'        = argmax of Q(s', a) over a in likely(s')                                  (2)
    y         = r + gamma Q_target(s', a')        (gamma is 0 after a termination)       (3)
    loss      = mean huber(y - Q(s, a)) - mean log G(a|s) + penalty * mean logits^2      (4)

The policy is (2) at s, with a random action in 0.1% of steps. As in Double DQN the online network
chooses a' and the target network values it. The convolutions are shared; each head has a fully
connected layer of its own, as in the authors' code.

As the authors' learning rate is meant for pixels from 0 to 255, these are not divided by 255: with that rate, divided
ones take many times as many updates until observations are told apart.

Departures from the authors' code (github.com/sfujim/BCQ): rewards are used as they are stored
unless clipping is asked for; on vectors a hard copy every `target_update_freq` updates replaces
the moving average, so that images and vectors follow one rule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional as F

from rlbuffers_train.algorithms.base import Metrics
from rlbuffers_train.algorithms.one_network import TargetNetworkAlgorithm, TargetNetworkConfig
from rlbuffers_train.batch import TransitionBatch
from rlbuffers_train.networks.discrete import TwoHeadedNetwork
from rlbuffers_train.problem import ProblemSpec
from rlbuffers_train.settings import AMOUNT, LAYERS, setting
from rlbuffers_train.targets import td_target

__all__ = ["DiscreteBCQ", "DiscreteBCQConfig"]


@dataclass(frozen=True, kw_only=True)
class DiscreteBCQConfig(TargetNetworkConfig):
    """Hyperparameters; the defaults are the authors' for Atari."""

    lr: float = setting(6.25e-5, "Learning rate of Adam.", above=0)
    adam_eps: float = setting(1.5e-4, "Added to the denominator of Adam's step.", above=0)
    batch_size: int = setting(32, "Transitions in an update.", **AMOUNT)
    target_update_freq: int = setting(8000, "Updates from one copy of the target network to the next.", at_least=1)
    hidden_sizes: tuple[int, ...] = setting((512,), "Widths of the layers before the outputs.", **LAYERS)
    eps_inference: float = setting(0.001, "Share of random actions in evaluation.", at_least=0, at_most=1)
    unlikely_action_threshold: float = setting(
        0.3,
        "tau: actions less likely than this, relative to the likeliest, are not considered; 0 is Q-learning.",
        at_least=0,
        below=1,
    )
    imitation_logits_penalty: float = setting(0.01, "Weight of the squared imitation logits.", at_least=0)


class DiscreteBCQ(TargetNetworkAlgorithm[DiscreteBCQConfig]):
    """See the module's docstring."""

    name = "bcq"
    config_class = DiscreteBCQConfig
    presets: ClassVar = {"tianshou": DiscreteBCQConfig(adam_eps=1e-8, scale_pixels=False)}

    @classmethod
    def recommended(cls, problem: ProblemSpec) -> DiscreteBCQConfig:
        """Return the paper's hyperparameters for images, and some that learn quickly for vectors."""
        if problem.is_pixels:
            return DiscreteBCQConfig(scale_pixels=False)
        return DiscreteBCQConfig(
            lr=1e-3,
            adam_eps=1e-8,
            batch_size=128,
            target_update_freq=200,
            hidden_sizes=(128, 128),
            eps_inference=0.0,
        )

    def make_network(self) -> TwoHeadedNetwork:
        """Return Q and the logits of G over shared features."""
        return TwoHeadedNetwork(self.make_features(), self.config.hidden_sizes, self.problem.num_actions)

    def action_scores(self, observations: torch.Tensor) -> torch.Tensor:
        """Return Q, with -inf for the actions that the behavior policy is unlikely to take."""
        values, logits = self.network(observations)
        log_ratio = logits - logits.max(dim=1, keepdim=True).values  # log G(a|s) / max_b G(b|s)
        # A threshold of 0 forbids nothing, not even an action whose likelihood underflows.
        threshold = self.config.unlikely_action_threshold
        log_threshold = math.log(threshold) if threshold > 0 else -math.inf
        likely: torch.Tensor = values.masked_fill(log_ratio <= log_threshold, -math.inf)  # Eq. 1
        return likely

    def loss(self, batch: TransitionBatch) -> tuple[torch.Tensor, Metrics]:
        """Return equation (4) and its parts."""
        actions = batch.actions.unsqueeze(1)  # (B, 1)
        with torch.no_grad():
            next_actions = self.action_scores(batch.next_observations).argmax(dim=1, keepdim=True)  # Eq. 2
            next_values, _ = self.target_network(batch.next_observations)
            next_values = next_values.gather(1, next_actions).squeeze(1)
            targets = td_target(batch.rewards, batch.discounts, next_values)  # Eq. 3
        all_values, logits = self.network(batch.observations)
        values = all_values.gather(1, actions).squeeze(1)
        value_loss = F.smooth_l1_loss(values, targets)
        imitation_loss = F.cross_entropy(logits, batch.actions)
        logits_size = logits.square().mean()
        loss = value_loss + imitation_loss + self.config.imitation_logits_penalty * logits_size  # Eq. 4
        return loss, {"value_loss": value_loss, "imitation_loss": imitation_loss, "mean_value": values.mean()}
