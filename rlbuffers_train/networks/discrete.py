"""Heads for discrete actions: numbers for each of A actions, from one look at the observation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from rlbuffers_train.networks.features import FlatFeatures, PixelFeatures, mlp

__all__ = ["ActionScores", "QuantileNetwork", "TwoHeadedNetwork"]


class ActionScores(nn.Module):
    """One number for each of A actions: logits or values."""

    def __init__(self, features: PixelFeatures | FlatFeatures, hidden_sizes: Sequence[int], num_actions: int) -> None:
        super().__init__()
        self.features = features
        self.head = mlp(features.num_features, hidden_sizes, num_actions)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Map (B, *obs) to float32 (B, A)."""
        scores: torch.Tensor = self.head(self.features(observations))
        return scores


class QuantileNetwork(nn.Module):
    """K quantiles of the return of each of A actions."""

    def __init__(
        self,
        features: PixelFeatures | FlatFeatures,
        hidden_sizes: Sequence[int],
        num_actions: int,
        num_quantiles: int,
    ) -> None:
        super().__init__()
        self.features = features
        self.head = mlp(features.num_features, hidden_sizes, num_actions * num_quantiles)
        self._output_shape = (num_actions, num_quantiles)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Map (B, *obs) to quantiles, float32 (B, A, K)."""
        outputs: torch.Tensor = self.head(self.features(observations))
        return outputs.view(-1, *self._output_shape)


class TwoHeadedNetwork(nn.Module):
    """Action values and the logits of a policy, over shared features."""

    def __init__(self, features: PixelFeatures | FlatFeatures, hidden_sizes: Sequence[int], num_actions: int) -> None:
        super().__init__()
        self.features = features
        self.value_head = mlp(features.num_features, hidden_sizes, num_actions)
        self.policy_head = mlp(features.num_features, hidden_sizes, num_actions)

    def forward(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (B, *obs) to action values and logits, both float32 (B, A)."""
        features = self.features(observations)
        return self.value_head(features), self.policy_head(features)
