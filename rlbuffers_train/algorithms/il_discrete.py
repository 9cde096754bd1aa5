"""Behavior cloning of discrete actions: classification of what the behavior policy did.

D. Pomerleau: "ALVINN: An Autonomous Land Vehicle in a Neural Network", NIPS 1988, with the loss that every
offline benchmark uses (numbering ours)::

    loss = - mean log pi(a|s)                                                           (1)
    act  = argmax_a pi(a|s)                                                             (2)

What it reaches is what the others must beat. On images Tianshou's ``atari_il`` has a learning rate of 1e-4 for pixels
from 0 to 255 (``--preset tianshou``); divided by 255, they take a larger one and orthogonal initial weights to learn as
quickly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional as F

from rlbuffers_train.algorithms.base import Metrics
from rlbuffers_train.algorithms.one_network import OneNetworkAlgorithm, OneNetworkConfig
from rlbuffers_train.batch import TransitionBatch
from rlbuffers_train.networks.discrete import ActionScores
from rlbuffers_train.problem import ProblemSpec
from rlbuffers_train.settings import AMOUNT, LAYERS, setting

__all__ = ["DiscreteIL", "DiscreteILConfig"]


@dataclass(frozen=True, kw_only=True)
class DiscreteILConfig(OneNetworkConfig):
    """Hyperparameters; the defaults are for Atari."""

    lr: float = setting(3e-4, "Learning rate of Adam.", above=0)
    batch_size: int = setting(32, "Transitions in an update.", **AMOUNT)
    hidden_sizes: tuple[int, ...] = setting((512,), "Widths of the layers before the outputs.", **LAYERS)


class DiscreteIL(OneNetworkAlgorithm[DiscreteILConfig]):
    """See the module's docstring."""

    name = "il"
    config_class = DiscreteILConfig
    columns = ("observations", "actions")
    presets: ClassVar = {"tianshou": DiscreteILConfig(lr=1e-4, scale_pixels=False)}

    @classmethod
    def recommended(cls, problem: ProblemSpec) -> DiscreteILConfig:
        """Return hyperparameters that learn quickly."""
        if problem.is_pixels:
            return DiscreteILConfig(orthogonal=True)
        return DiscreteILConfig(lr=1e-3, batch_size=128, hidden_sizes=(128, 128))

    def make_network(self) -> ActionScores:
        """Return the logits of pi."""
        return ActionScores(self.make_features(), self.config.hidden_sizes, self.problem.num_actions)

    def action_scores(self, observations: torch.Tensor) -> torch.Tensor:
        """Return the logits of pi."""
        logits: torch.Tensor = self.network(observations)
        return logits

    def loss(self, batch: TransitionBatch) -> tuple[torch.Tensor, Metrics]:
        """Return equation (1)."""
        logits = self.network(batch.observations)
        accuracy = (logits.argmax(dim=1) == batch.actions).float().mean()
        return F.cross_entropy(logits, batch.actions), {"accuracy": accuracy}  # Eq. 1
