"""Actors for actions that are vectors, scaled to [-1, 1] in each of D elements, and values of observations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from rlbuffers_train.networks.features import mlp

__all__ = ["DeterministicActor", "GaussianActor", "Scalar", "TanhGaussianActor", "ValueNetwork"]

_LOG_STD_RANGE = (-20.0, 2.0)
_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class DeterministicActor(nn.Module):
    """One action for an observation, through tanh."""

    def __init__(self, num_inputs: int, hidden_sizes: Sequence[int], num_elements: int) -> None:
        super().__init__()
        self.layers = mlp(num_inputs, hidden_sizes, num_elements)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Map (B, F) to actions, float32 (B, D)."""
        return torch.tanh(self.layers(observations))


class TanhGaussianActor(nn.Module):
    """A Gaussian squashed by tanh, whose mean and spread depend on the observation (SAC's)."""

    def __init__(self, num_inputs: int, hidden_sizes: Sequence[int], num_elements: int) -> None:
        super().__init__()
        self.layers = mlp(num_inputs, hidden_sizes, 2 * num_elements)

    def forward(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (..., F) to the mean before tanh and the log of the standard deviation, each float32 (..., D)."""
        mean, log_std = self.layers(observations).chunk(2, dim=-1)
        return mean, log_std.clamp(*_LOG_STD_RANGE)

    def mode(self, observations: torch.Tensor) -> torch.Tensor:
        """Map (B, F) to the actions of the mean, float32 (B, D)."""
        return torch.tanh(self(observations)[0])

    def sample(self, observations: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return actions and their log-densities, differentiable in the weights.

        Parameters
        ----------
        observations : float32, shape (B, F)
        noise : float32, shape (..., B, D)
            Standard normal; leading axes are several samples for each observation.

        Returns
        -------
        actions : float32, shape (..., B, D)
        log_probs : float32, shape (..., B)
        """
        mean, log_std = self(observations)
        latent = mean + log_std.exp() * noise
        # The density of the latent, by the noise that made it, minus log(1 - tanh(latent)^2), which is
        # written so that it is exact where tanh is 1 in float32.
        log_density = -0.5 * noise.square() - log_std - _HALF_LOG_TWO_PI
        log_slope = 2.0 * (math.log(2.0) - latent - F.softplus(-2.0 * latent))
        return torch.tanh(latent), (log_density - log_slope).sum(dim=-1)


class GaussianActor(nn.Module):
    """A Gaussian around a mean within [-1, 1], with one spread for all observations (IQL's)."""

    def __init__(self, num_inputs: int, hidden_sizes: Sequence[int], num_elements: int) -> None:
        super().__init__()
        self.layers = mlp(num_inputs, hidden_sizes, num_elements)
        self.log_std = nn.Parameter(torch.zeros(num_elements))

    def mode(self, observations: torch.Tensor) -> torch.Tensor:
        """Map (B, F) to the means, float32 (B, D)."""
        return torch.tanh(self.layers(observations))

    def std(self) -> torch.Tensor:
        """Return the standard deviation, float32 (D,)."""
        return self.log_std.clamp(*_LOG_STD_RANGE).exp()

    def log_prob(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Return the log-densities of actions (B, D), float32 (B,)."""
        std = self.std()
        standardized = (actions - self.mode(observations)) / std
        return (-0.5 * standardized.square() - std.log() - _HALF_LOG_TWO_PI).sum(dim=-1)


class ValueNetwork(nn.Module):
    """The value of an observation."""

    def __init__(self, num_inputs: int, hidden_sizes: Sequence[int]) -> None:
        super().__init__()
        self.layers = mlp(num_inputs, hidden_sizes, 1)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Map (B, F) to float32 (B,)."""
        values: torch.Tensor = self.layers(observations).squeeze(-1)
        return values


class Scalar(nn.Module):
    """One positive number that is learned through its logarithm."""

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor(math.log(initial)))

    def forward(self) -> torch.Tensor:
        """Return the number, float32 ()."""
        return self.log.exp()
