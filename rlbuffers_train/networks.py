"""Networks: image and vector features, and the heads that the algorithms put on them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import nn

__all__ = ["FlatFeatures", "PixelFeatures", "QuantileNetwork", "ValueAndImitationNetwork", "mlp"]

# (filters, kernel size, stride) of Mnih et al. 2015, "Human-level control through deep RL".
_NATURE_LAYERS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))


class PixelFeatures(nn.Module):
    """The convolutions of the Nature DQN over a stack of grayscale frames.

    Pixels are divided by 255 here and nowhere else, so that learning rates mean the same for every
    algorithm and a checkpoint needs no note on scaling.

    Parameters
    ----------
    observation_shape : (frames, height, width)
    """

    def __init__(self, observation_shape: Sequence[int]) -> None:
        super().__init__()
        channels, height, width = observation_shape
        layers: list[nn.Module] = []
        for filters, kernel, stride in _NATURE_LAYERS:
            layers += [nn.Conv2d(channels, filters, kernel, stride), nn.ReLU()]
            channels = filters
            height, width = ((size - kernel) // stride + 1 for size in (height, width))
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        self.num_features = channels * height * width

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Map uint8 (B, frames, height, width) to float32 (B, num_features)."""
        features: torch.Tensor = self.convolutions(observations.float() / 255.0)
        return features


class FlatFeatures(nn.Module):
    """Observations that are vectors already: no parameters, only flattened and cast to float32."""

    def __init__(self, observation_shape: Sequence[int]) -> None:
        super().__init__()
        self.num_features = math.prod(observation_shape)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Map (B, *obs) to float32 (B, num_features)."""
        return observations.float().flatten(start_dim=1)


def mlp(num_inputs: int, hidden_sizes: Sequence[int], num_outputs: int) -> nn.Sequential:
    """Return linear layers with a ReLU after each but the last."""
    sizes = [num_inputs, *hidden_sizes]
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], num_outputs))


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


class ValueAndImitationNetwork(nn.Module):
    """Action values and the logits of the behavior policy, over shared features."""

    def __init__(self, features: PixelFeatures | FlatFeatures, hidden_sizes: Sequence[int], num_actions: int) -> None:
        super().__init__()
        self.features = features
        self.value_head = mlp(features.num_features, hidden_sizes, num_actions)
        self.imitation_head = mlp(features.num_features, hidden_sizes, num_actions)

    def forward(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (B, *obs) to action values and imitation logits, both float32 (B, A)."""
        features = self.features(observations)
        return self.value_head(features), self.imitation_head(features)
