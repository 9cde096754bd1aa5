"""The generative model of the behavior policy in continuous BCQ."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from rlbuffers_train.networks.features import mlp

__all__ = ["ConditionalVAE"]

_LOG_STD_RANGE = (-4.0, 15.0)


class ConditionalVAE(nn.Module):
    """A variational autoencoder of actions, given observations.

    Parameters
    ----------
    num_inputs, num_elements : int
        Sizes of an observation and of an action.
    hidden_sizes : sequence of int
        Widths of the hidden layers of encoder and decoder.
    num_latent : int
        Size of the latent vector.
    """

    def __init__(self, num_inputs: int, num_elements: int, hidden_sizes: Sequence[int], num_latent: int) -> None:
        super().__init__()
        self.num_latent = num_latent
        self.encoder = mlp(num_inputs + num_elements, hidden_sizes, 2 * num_latent)
        self.decoder = mlp(num_inputs + num_latent, hidden_sizes, num_elements)

    def encode(self, observations: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log standard deviation of the latent of actions (B, D), each float32 (B, L)."""
        mean, log_std = self.encoder(torch.cat([observations, actions], dim=-1)).chunk(2, dim=-1)
        return mean, log_std.clamp(*_LOG_STD_RANGE)

    def decode(self, observations: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        """Return the actions of latents (B, L), float32 (B, D) in [-1, 1]."""
        return torch.tanh(self.decoder(torch.cat([observations, latent], dim=-1)))
