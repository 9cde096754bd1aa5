"""Behavior cloning of actions that are vectors: regression on what the behavior policy did.

The baseline of every offline benchmark (numbering ours)::

    loss = mean (pi(s) - a)^2                                                           (1)

The mean runs over transitions and elements of actions. The learning rate is CORL's; `--norm-obs 1` standardizes
observations as CORL does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch.nn import functional as F

from rlbuffers_train.algorithms.base import Metrics
from rlbuffers_train.algorithms.continuous import ActorConfig, ContinuousAlgorithm, descend
from rlbuffers_train.batch import TransitionBatch
from rlbuffers_train.networks.continuous import DeterministicActor

__all__ = ["ContinuousIL", "ContinuousILConfig"]


@dataclass(frozen=True, kw_only=True)
class ContinuousILConfig(ActorConfig):
    """Hyperparameters; the defaults are CORL's."""


class ContinuousIL(ContinuousAlgorithm[ContinuousILConfig]):
    """See the module's docstring."""

    name = "il"
    config_class = ContinuousILConfig
    columns = ("observations", "actions")
    compiled: ClassVar = ("loss",)
    presets: ClassVar = {"tianshou": ContinuousILConfig(actor_lr=1e-4)}

    def build(self) -> None:
        """Make networks, target networks and optimizers."""
        self.actor = DeterministicActor(self.num_inputs, self.config.hidden_sizes, self.num_elements).to(self.device)
        self.actor_optimizer = self.adam(self.actor.parameters(), self.config.actor_lr)

    def learn(self, batch: TransitionBatch) -> Metrics:
        """Descend equation (1)."""
        loss = self.loss(batch)
        descend(self.actor_optimizer, loss)
        return {"loss": loss.detach()}

    def loss(self, batch: TransitionBatch) -> torch.Tensor:
        """Return equation (1)."""
        return F.mse_loss(self.actor(batch.observations), batch.actions)  # Eq. 1

    def act(self, observations: torch.Tensor, generator: np.random.Generator, *, samples: bool) -> torch.Tensor:
        """Return pi(s)."""
        actions: torch.Tensor = self.actor(observations)
        return actions
