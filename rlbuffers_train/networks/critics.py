"""Critics for actions that are vectors: several networks side by side, as the members of an ensemble."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from rlbuffers_train.networks.linear import chain, is_worth_it

__all__ = ["CriticEnsemble"]

# Weight and bias of each layer, of one member or of all: hidden layers, norms, the last layer.
_Weights = tuple[Sequence[Sequence[torch.Tensor]], Sequence[Sequence[torch.Tensor]], Sequence[torch.Tensor]]


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
        self.norms = nn.ModuleList(_EnsembleNorm(num_members, size) for size in hidden_sizes if layer_norm)
        self.last = _EnsembleLinear(num_members, sizes[-1], 1)

    def forward(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Map (B, F) and (B, D) to values, float32 (N, B)."""
        return _values(torch.cat([observations, actions], dim=-1), self._map_weights(lambda weights: weights))

    def judge(self, observations: torch.Tensor, actions: torch.Tensor, num_members: int | None = None) -> torch.Tensor:
        """Return values, float32 (N, B), from which gradients flow to the actions alone: what an actor climbs.

        Parameters
        ----------
        observations, actions : float32, shapes (B, F) and (B, D)
        num_members : int, optional
            How many members are asked, the first ones; all by default.
        """
        constants = self._map_weights(lambda weights: weights[:num_members].detach())
        return _values(torch.cat([observations, actions], dim=-1), constants)

    def _map_weights(self, function: Callable[[torch.Tensor], torch.Tensor]) -> _Weights:
        def of(layer: nn.Module) -> list[torch.Tensor]:
            return [function(weights) for weights in layer.parameters()]

        return [of(layer) for layer in self.hidden], [of(norm) for norm in self.norms], of(self.last)


class _EnsembleLinear(nn.Module):
    """The weights of N linear layers."""

    def __init__(self, num_members: int, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        # As torch initializes a linear layer: uniform within 1 / sqrt(inputs).
        bound = 1.0 / math.sqrt(num_inputs)
        self.weight = nn.Parameter(torch.empty(num_members, num_inputs, num_outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(num_members, 1, num_outputs).uniform_(-bound, bound))


class _EnsembleNorm(nn.Module):
    """Scales and shifts of N normalized layers."""

    def __init__(self, num_members: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_members, 1, size))
        self.bias = nn.Parameter(torch.zeros(num_members, 1, size))


def _values(inputs: torch.Tensor, weights: _Weights) -> torch.Tensor:
    """Return the values of all members for inputs (B, F + D), float32 (N, B).

    All members go through batched products: a few large operations in place of many small ones. Where a product of
    one member is large enough for oneDNN, that is faster yet.
    """
    hidden, norms, last = weights
    if not is_worth_it(inputs, hidden[0][0][0].t()):
        return _values_together(inputs.expand(len(last[0]), *inputs.shape), weights)
    members = zip(*(zip(*layer, strict=True) for layer in (*hidden, *norms, last)), strict=True)
    return torch.stack([_values_of_member(inputs, layers, len(norms)) for layers in members])


def _values_together(inputs: torch.Tensor, weights: _Weights) -> torch.Tensor:
    """Return the values (N, B) of inputs (N, B, F + D)."""
    layers, norms, last = weights
    hidden = inputs
    for number, (weight, bias) in enumerate(layers):
        hidden = F.relu(torch.baddbmm(bias, hidden, weight))
        if norms:
            hidden = _normalized(hidden, *norms[number])
    # The last layer computes in float32 whatever the others do: values keep their digits.
    with torch.autocast(hidden.device.type, enabled=False):
        return torch.baddbmm(last[1], hidden.to(last[0].dtype), last[0]).squeeze(-1)


def _values_of_member(inputs: torch.Tensor, weights: Sequence[Sequence[torch.Tensor]], num_norms: int) -> torch.Tensor:
    """Return the values (B,) of inputs (B, F + D) by hidden layers, their norms and the last layer of one member."""
    num_layers = len(weights) - num_norms
    norms, last = weights[num_layers - 1 : -1], weights[-1]
    layers = [(weight.t(), bias.squeeze(0)) for weight, bias in (*weights[: num_layers - 1], last)]
    if not norms:
        return chain(inputs, layers).squeeze(-1)
    hidden = inputs
    for layer, norm in zip(layers, norms, strict=False):
        hidden = _normalized(chain(hidden, [layer], rectifies=True), *norm)
    return chain(hidden, layers[-1:]).squeeze(-1)


def _normalized(hidden: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(hidden, hidden.shape[-1:]) * scale + shift
