"""QR-DQN: Q-learning of the quantiles of the return, trained online as an expert that makes data.

W. Dabney, M. Rowland, M. Bellemare, R. Munos: "Distributional Reinforcement Learning with Quantile
Regression", AAAI 2018, arXiv:1710.10044, Algorithm 1. The network gives K quantiles theta_i(s, a)
of the return at the midpoints tau_i = (2i - 1) / 2K (numbering ours)::

    Q(s, a) = mean over i of theta_i(s, a)                                             (1)
    a*      = argmax_a Q_target(s', a)                                                 (2)
    y_j     = r + gamma theta_target_j(s', a*)       (gamma is 0 after a termination)  (3)
    loss    = sum over i of the mean over j of rho_i(y_j - theta_i(s, a))              (4)

rho is the quantile Huber loss with kappa = 1, see `rlbuffers_train.targets`.

Departures from the paper: n-step returns (r is a sum of n discounted rewards and gamma is raised to
n), several environments at once, and the hyperparameters of Tianshou's ``atari_qrdqn`` example,
which made the data that offline results are compared on. Unlike that example, which also chooses a*
with the online network, (2) is the paper's; and pixels are divided by 255.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from rlbuffers_train.algorithms.base import Algorithm, AlgorithmConfig, ProblemSpec
from rlbuffers_train.batch import TransitionBatch
from rlbuffers_train.networks import QuantileNetwork
from rlbuffers_train.targets import quantile_huber_loss, quantile_midpoints, td_target

__all__ = ["QRDQN", "QRDQNConfig"]


@dataclass(frozen=True)
class QRDQNConfig(AlgorithmConfig):
    """Hyperparameters; the defaults are for Atari.

    Parameters
    ----------
    num_quantiles : int
        K.
    """

    lr: float = 1e-4
    adam_eps: float = 1e-8
    batch_size: int = 32
    gamma: float = 0.99
    target_update_freq: int = 500
    hidden_sizes: tuple[int, ...] = (512,)
    eps_inference: float = 0.005
    num_quantiles: int = 200


class QRDQN(Algorithm[QRDQNConfig]):
    """See the module's docstring."""

    name = "qrdqn"
    config_class = QRDQNConfig

    def __init__(
        self, problem: ProblemSpec, config: QRDQNConfig, generator: np.random.Generator, device: torch.device
    ) -> None:
        super().__init__(problem, config, generator, device)
        self._midpoints = quantile_midpoints(config.num_quantiles).to(device)

    @classmethod
    def recommended(cls, problem: ProblemSpec) -> QRDQNConfig:
        """Return the reference's hyperparameters for images, and some that learn quickly for vectors."""
        if problem.is_pixels:
            return QRDQNConfig()
        return QRDQNConfig(
            lr=1e-3,
            batch_size=64,
            target_update_freq=50,
            hidden_sizes=(128, 128),
            eps_inference=0.0,
            num_quantiles=20,
        )

    def make_network(self) -> QuantileNetwork:
        """Return theta of the module's docstring."""
        config = self.config
        features = self.problem.make_features()
        return QuantileNetwork(features, config.hidden_sizes, self.problem.num_actions, config.num_quantiles)

    def action_values(self, observations: torch.Tensor) -> torch.Tensor:
        """Return the means of the quantiles."""
        values: torch.Tensor = self.network(observations).mean(dim=2)  # Eq. 1
        return values

    def loss(self, batch: TransitionBatch) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Return equation (4)."""
        rows = torch.arange(len(batch.actions), device=self.device)
        with torch.no_grad():
            next_quantiles = self.target_network(batch.next_observations)  # (B, A, K)
            next_actions = next_quantiles.mean(dim=2).argmax(dim=1)  # Eq. 2
            targets = td_target(batch.rewards, batch.discounts, next_quantiles[rows, next_actions])  # Eq. 3
        quantiles = self.network(batch.observations)[rows, batch.actions]  # (B, K)
        loss = quantile_huber_loss(quantiles, targets, self._midpoints).mean()  # Eq. 4
        return loss, {"mean_value": quantiles.mean()}
