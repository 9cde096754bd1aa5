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
which made the data that offline results are compared on. That example chooses a* with the online
network, as Double DQN does: `double_q`. Pixels are divided by 255.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from rlbuffers_train.algorithms.base import Metrics
from rlbuffers_train.algorithms.one_network import TargetNetworkAlgorithm, TargetNetworkConfig
from rlbuffers_train.batch import TransitionBatch
from rlbuffers_train.networks.discrete import QuantileNetwork
from rlbuffers_train.problem import ProblemSpec
from rlbuffers_train.settings import AMOUNT, LAYERS, setting
from rlbuffers_train.targets import quantile_huber_loss, quantile_midpoints, td_target

__all__ = ["QRDQN", "QRDQNConfig", "taken"]


@dataclass(frozen=True, kw_only=True)
class QRDQNConfig(TargetNetworkConfig):
    """Hyperparameters; the defaults are for Atari."""

    lr: float = setting(1e-4, "Learning rate of Adam.", above=0)
    batch_size: int = setting(32, "Transitions in an update.", **AMOUNT)
    target_update_freq: int = setting(500, "Updates from one copy of the target network to the next.", at_least=1)
    hidden_sizes: tuple[int, ...] = setting((512,), "Widths of the layers before the outputs.", **LAYERS)
    eps_inference: float = setting(0.005, "Share of random actions in evaluation.", at_least=0, at_most=1)
    n_step: int = setting(3, "Rewards summed before bootstrapping.", **AMOUNT)
    num_quantiles: int = setting(200, "K: quantiles of the return.", **AMOUNT)
    double_q: bool = setting(False, "Whether the online network chooses the next action (0 or 1).")


class QRDQN(TargetNetworkAlgorithm[QRDQNConfig]):
    """See the module's docstring."""

    name = "qrdqn"
    config_class: ClassVar[type[QRDQNConfig]] = QRDQNConfig
    presets: ClassVar[Mapping[str, QRDQNConfig]] = {"tianshou": QRDQNConfig(double_q=True, scale_pixels=False)}

    def build(self) -> None:
        """Make networks, target networks and optimizers."""
        super().build()
        self._midpoints = quantile_midpoints(self.config.num_quantiles).to(self.device)

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
            n_step=5,
            num_quantiles=20,
        )

    def make_network(self) -> QuantileNetwork:
        """Return theta of the module's docstring."""
        config = self.config
        features = self.make_features()
        return QuantileNetwork(features, config.hidden_sizes, self.problem.num_actions, config.num_quantiles)

    def action_scores(self, observations: torch.Tensor) -> torch.Tensor:
        """Return the means of the quantiles."""
        values: torch.Tensor = self.network(observations).mean(dim=2)  # Eq. 1
        return values

    def loss(self, batch: TransitionBatch) -> tuple[torch.Tensor, Metrics]:
        """Return equation (4)."""
        quantiles = self.network(batch.observations)  # (B, A, K)
        return self.quantile_loss(quantiles, batch), {"mean_value": taken(quantiles, batch.actions).mean()}

    def quantile_loss(self, quantiles: torch.Tensor, batch: TransitionBatch) -> torch.Tensor:
        """Return equation (4) for quantiles (B, A, K) of the batch's observations."""
        with torch.no_grad():
            next_quantiles = self.target_network(batch.next_observations)  # (B, A, K)
            judge = self.network(batch.next_observations) if self.config.double_q else next_quantiles
            next_actions = judge.mean(dim=2).argmax(dim=1)  # Eq. 2
            targets = td_target(batch.rewards, batch.discounts, taken(next_quantiles, next_actions))  # Eq. 3
        return quantile_huber_loss(taken(quantiles, batch.actions), targets, self._midpoints).mean()  # Eq. 4


def taken(quantiles: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """Return the quantiles of one action in each row, (B, A, K) to (B, K)."""
    return quantiles[torch.arange(len(actions), device=actions.device), actions]
