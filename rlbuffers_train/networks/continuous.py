"""Actors and critics for actions that are vectors, scaled to [-1, 1] in each of D elements."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from rlbuffers_train.networks.features import mlp

__all__ = ["CriticEnsemble", "DeterministicActor", "GaussianActor", "Scalar", "TanhGaussianActor", "ValueNetwork"]

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


class _EnsembleLinear(nn.Module):
    """N linear layers in one batched product: a few large operations in place of many small ones."""

    def __init__(self, num_members: int, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        # As torch initializes a linear layer: uniform within 1 / sqrt(inputs).
        bound = 1.0 / math.sqrt(num_inputs)
        self.weight = nn.Parameter(torch.empty(num_members, num_inputs, num_outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(num_members, 1, num_outputs).uniform_(-bound, bound))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (N, B, inputs) to (N, B, outputs)."""
        return torch.baddbmm(self.bias, inputs, self.weight)


class _EnsembleOutput(_EnsembleLinear):
    """Computes in float32 whatever the layers before it do: values keep their digits."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (N, B, inputs) to float32 (N, B, outputs)."""
        if not torch.is_autocast_enabled(inputs.device.type):
            return super().forward(inputs)
        with torch.autocast(inputs.device.type, enabled=False):
            return super().forward(inputs.float())


class CriticEnsemble(nn.Module):
    """N independent networks for the value of an observation and an action.

    Parameters
    ----------
    num_members : int
        N.
    num_inputs, num_elements : int
        Sizes of an observation and of an action.
    hidden_sizes : sequence of int
        Widths of the layers between.
    layer_norm : bool
        Whether each hidden layer is normalized after its ReLU.
    """

    def __init__(
        self,
        num_members: int,
        num_inputs: int,
        num_elements: int,
        hidden_sizes: Sequence[int],
        *,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        self.num_members = num_members
        sizes = [num_inputs + num_elements, *hidden_sizes]
        self.hidden = nn.ModuleList(
            _EnsembleLinear(num_members, inputs, outputs) for inputs, outputs in zip(sizes, hidden_sizes, strict=False)
        )
        # The scale and shift of a norm are a row for each member.
        self.norms = nn.ModuleList(_EnsembleNorm(num_members, size) for size in hidden_sizes if layer_norm)
        self.last = _EnsembleOutput(num_members, sizes[-1], 1)

    def forward(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Map (B, F) and (B, D) to values, float32 (N, B)."""
        inputs = torch.cat([observations, actions], dim=-1)
        hidden = inputs.expand(self.num_members, *inputs.shape)
        for number, layer in enumerate(self.hidden):
            hidden = F.relu(layer(hidden))
            if self.norms:
                hidden = self.norms[number](hidden)
        values: torch.Tensor = self.last(hidden).squeeze(-1)
        return values


class _EnsembleNorm(nn.Module):
    """Layer normalization with a scale and a shift for each of N members."""

    def __init__(self, num_members: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_members, 1, size))
        self.bias = nn.Parameter(torch.zeros(num_members, 1, size))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Normalize (N, B, size) over its last axis."""
        return F.layer_norm(inputs, inputs.shape[-1:]) * self.weight + self.bias


class Scalar(nn.Module):
    """One positive number that is learned through its logarithm."""

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor(math.log(initial)))

    def forward(self) -> torch.Tensor:
        """Return the number, float32 ()."""
        return self.log.exp()
