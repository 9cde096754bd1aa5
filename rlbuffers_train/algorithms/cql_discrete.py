"""Discrete CQL: QR-DQN with values pushed down on actions that the data do not have.

A. Kumar, A. Zhou, G. Tucker, S. Levine: "Conservative Q-Learning for Offline Reinforcement Learning", NeurIPS
2020, arXiv:2006.04779, CQL(H) on top of QR-DQN as in its Atari experiments (numbering ours)::

    Q(s, a) = mean over i of theta_i(s, a)                                              (1)
    gap     = log sum_a exp Q(s, a) - Q(s, a_data)                                      (2)
    loss    = QR-DQN's loss + min_q_weight * mean gap                                   (3)

The policy is the argmax of (1). The authors use the weight 1 for a tenth of the DQN replay data and 4 for a
hundredth; Tianshou's example 10. Departures from the authors' code: pixels are divided by 255 here as there, but
rewards are used as they are stored unless clipping is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from rlbuffers_train.algorithms.base import Metrics
from rlbuffers_train.algorithms.qrdqn import QRDQN, QRDQNConfig
from rlbuffers_train.batch import TransitionBatch
from rlbuffers_train.problem import ProblemSpec
from rlbuffers_train.settings import AMOUNT, setting
from rlbuffers_train.targets import conservative_gap

__all__ = ["DiscreteCQL", "DiscreteCQLConfig"]


@dataclass(frozen=True, kw_only=True)
class DiscreteCQLConfig(QRDQNConfig):
    """Hyperparameters; the defaults are the authors' for Atari."""

    lr: float = setting(5e-5, "Learning rate of Adam.", above=0)
    adam_eps: float = setting(0.01 / 32, "Added to the denominator of Adam's step.", above=0)
    target_update_freq: int = setting(2000, "Updates from one copy of the target network to the next.", at_least=1)
    eps_inference: float = setting(0.001, "Share of random actions in evaluation.", at_least=0, at_most=1)
    n_step: int = setting(1, "Rewards summed before bootstrapping.", **AMOUNT)
    min_q_weight: float = setting(1.0, "Weight of the conservative gap.", at_least=0)


class DiscreteCQL(QRDQN):
    """See the module's docstring."""

    name = "cql"
    config: DiscreteCQLConfig
    config_class = DiscreteCQLConfig
    presets: ClassVar = {
        "tianshou": DiscreteCQLConfig(
            lr=1e-4, adam_eps=1e-8, target_update_freq=500, min_q_weight=10.0, double_q=True, scale_pixels=False
        )
    }

    @classmethod
    def recommended(cls, problem: ProblemSpec) -> DiscreteCQLConfig:
        """Return the authors' hyperparameters for images, and some that learn quickly for vectors."""
        if problem.is_pixels:
            return DiscreteCQLConfig()
        return DiscreteCQLConfig(
            lr=1e-3,
            adam_eps=1e-8,
            batch_size=128,
            target_update_freq=200,
            hidden_sizes=(128, 128),
            eps_inference=0.0,
            num_quantiles=20,
        )

    def loss(self, batch: TransitionBatch) -> tuple[torch.Tensor, Metrics]:
        """Return equation (3) and its parts."""
        quantiles = self.network(batch.observations)  # (B, A, K)
        quantile_loss = self.quantile_loss(quantiles, batch)
        values = quantiles.mean(dim=2)  # Eq. 1
        gap = conservative_gap(values, batch.actions).mean()  # Eq. 2
        loss = quantile_loss + self.config.min_q_weight * gap  # Eq. 3
        return loss, {"quantile_loss": quantile_loss, "gap": gap, "mean_value": values.mean()}
