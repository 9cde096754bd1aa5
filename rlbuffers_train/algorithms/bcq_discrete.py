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

Departures from the authors' code (github.com/sfujim/BCQ): rewards are used as they are stored
unless clipping is asked for; on vectors a hard copy every `target_update_freq` updates replaces
the moving average, so that images and vectors follow one rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from rlbuffers_train.algorithms.base import Algorithm, AlgorithmConfig, ProblemSpec
from rlbuffers_train.batch import TransitionBatch
from rlbuffers_train.networks import ValueAndImitationNetwork
from rlbuffers_train.targets import td_target

__all__ = ["BCQConfig", "DiscreteBCQ"]


@dataclass(frozen=True)
class BCQConfig(AlgorithmConfig):
    """Hyperparameters; the defaults are the paper's for Atari.

    Parameters
    ----------
    unlikely_action_threshold : float
        tau of equation (1), in [0, 1): 0 is Q-learning, near 1 is behavioral cloning.
    imitation_logits_penalty : float
        Weight of the squared logits in equation (4).
    """

    lr: float = 6.25e-5
    adam_eps: float = 1.5e-4
    batch_size: int = 32
    gamma: float = 0.99
    target_update_freq: int = 8000
    hidden_sizes: tuple[int, ...] = (512,)
    eps_inference: float = 0.001
    unlikely_action_threshold: float = 0.3
    imitation_logits_penalty: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 <= self.unlikely_action_threshold < 1, "unlikely_action_threshold must lie in [0, 1)")


class DiscreteBCQ(Algorithm[BCQConfig]):
    """See the module's docstring."""

    name = "bcq"
    config_class = BCQConfig

    @classmethod
    def recommended(cls, problem: ProblemSpec) -> BCQConfig:
        """Return the paper's hyperparameters for images, and some that learn quickly for vectors."""
        if problem.is_pixels:
            return BCQConfig()
        return BCQConfig(
            lr=1e-3,
            adam_eps=1e-8,
            batch_size=128,
            target_update_freq=200,
            hidden_sizes=(128, 128),
            eps_inference=0.0,
        )

    def make_network(self) -> ValueAndImitationNetwork:
        """Return Q and the logits of G over shared features."""
        return ValueAndImitationNetwork(
            self.problem.make_features(), self.config.hidden_sizes, self.problem.num_actions
        )

    def action_values(self, observations: torch.Tensor) -> torch.Tensor:
        """Return Q, with -inf for the actions that the behavior policy is unlikely to take."""
        values, logits = self.network(observations)
        log_ratio = logits - logits.max(dim=1, keepdim=True).values  # log G(a|s) / max_b G(b|s)
        # A threshold of 0 forbids nothing, not even an action whose likelihood underflows.
        threshold = self.config.unlikely_action_threshold
        log_threshold = math.log(threshold) if threshold > 0 else -math.inf
        likely: torch.Tensor = values.masked_fill(log_ratio <= log_threshold, -math.inf)  # Eq. 1
        return likely

    def loss(self, batch: TransitionBatch) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Return equation (4) and its parts."""
        actions = batch.actions.unsqueeze(1)  # (B, 1)
        with torch.no_grad():
            next_actions = self.action_values(batch.next_observations).argmax(dim=1, keepdim=True)  # Eq. 2
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
