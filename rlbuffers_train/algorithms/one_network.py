"""What methods for discrete actions share: one network, a copy of it for targets, one loss."""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import nn

from rlbuffers_train.algorithms.base import Algorithm, AlgorithmConfig, DiscountedConfig, Metrics
from rlbuffers_train.batch import TransitionBatch
from rlbuffers_train.networks.features import FlatFeatures, PixelFeatures, make_features
from rlbuffers_train.networks.orthogonal import make_orthogonal
from rlbuffers_train.settings import LAYERS, setting

__all__ = ["OneNetworkAlgorithm", "OneNetworkConfig", "TargetNetworkAlgorithm", "TargetNetworkConfig"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class OneNetworkConfig(AlgorithmConfig):
    """Hyperparameters of one network that Adam trains."""

    lr: float = setting(about="Learning rate of Adam.", above=0)
    adam_eps: float = setting(1e-8, "Added to the denominator of Adam's step.", above=0)
    hidden_sizes: tuple[int, ...] = setting(about="Widths of the layers before the outputs.", **LAYERS)
    # What suits images is in `recommended`: a checkpoint that does not name these was trained with what stands here.
    orthogonal: bool = setting(False, "Whether weights begin orthogonal: quicker where little moves (0 or 1).")
    scale_pixels: bool = setting(True, "Whether pixels are divided by 255; a rate suits one or the other (0 or 1).")


@dataclass(frozen=True, kw_only=True)
class TargetNetworkConfig(OneNetworkConfig, DiscountedConfig):
    """Hyperparameters of a network whose targets come from an older copy of it."""

    target_update_freq: int = setting(about="Updates from one copy of the target network to the next.", at_least=1)


ConfigT = TypeVar("ConfigT", bound=OneNetworkConfig)
TargetConfigT = TypeVar("TargetConfigT", bound=TargetNetworkConfig)


class OneNetworkAlgorithm(Algorithm[ConfigT], Generic[ConfigT]):
    """A subclass wires its network, derives its loss from a batch and scores actions."""

    compiled: ClassVar = ("loss",)

    def build(self) -> None:
        """Make networks, target networks and optimizers."""
        self.network = self.make_network().to(self.device)
        if self.config.orthogonal:
            make_orthogonal(self.network)
        # On CPUs the fused step takes a fifth of the time of the plain one.
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=self.config.lr, eps=self.config.adam_eps, fused=True
        )

    def make_features(self) -> PixelFeatures | FlatFeatures:
        """Return the layers that heads build on."""
        return make_features(self.problem, scales_pixels=self.config.scale_pixels)

    @abstractmethod
    def make_network(self) -> nn.Module:
        """Return the network whose parameters are trained."""

    @abstractmethod
    def loss(self, batch: TransitionBatch) -> tuple[torch.Tensor, Metrics]:
        """Return the scalar to descend and scalars to log."""

    @abstractmethod
    def action_scores(self, observations: torch.Tensor) -> torch.Tensor:
        """Return what the policy maximises, float32 (B, A); -inf forbids an action."""

    def learn(self, batch: TransitionBatch) -> Metrics:
        """Take one step of Adam down the loss."""
        loss, parts = self.loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return {"loss": loss.detach(), **{name: part.detach() for name, part in parts.items()}}

    def choose(self, observations: torch.Tensor, generator: np.random.Generator, *, samples: bool) -> torch.Tensor:
        """Return the actions of the highest score, int64 (B,)."""
        return self.action_scores(observations).argmax(dim=1)

    def score_actions(self, observations: Array) -> Array:
        """Return `action_scores` of NumPy observations (num_envs, *obs) as an array (num_envs, A)."""
        with torch.no_grad():
            scores: Array = self.action_scores(self.to_inputs(observations)).cpu().numpy()
        return scores


class TargetNetworkAlgorithm(OneNetworkAlgorithm[TargetConfigT], Generic[TargetConfigT]):
    """Adds the target network, copied every `target_update_freq` updates."""

    def build(self) -> None:
        """Make networks, target networks and optimizers."""
        super().build()
        self.target_network = copy.deepcopy(self.network).requires_grad_(False)

    def learn(self, batch: TransitionBatch) -> Metrics:
        """Take one step of Adam, and copy the network when it is time."""
        metrics = super().learn(batch)
        if self.num_updates % self.config.target_update_freq == 0:
            self.target_network.load_state_dict(self.network.state_dict())
        return metrics
