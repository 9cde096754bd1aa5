"""Orthogonal initial weights, which keep small differences between observations visible through all layers.

A. Saxe, J. McClelland, S. Ganguli: "Exact solutions to the nonlinear dynamics of learning in deep linear neural
networks", ICLR 2014, arXiv:1312.6120. A ball of few pixels changes the outputs of torch's initial weights so little
that the first thousands of updates learn one value for all observations, and may switch units off for good meanwhile.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from rlbuffers_train.networks.linear import OutputLayer

__all__ = ["make_orthogonal"]

_RELU_GAIN = math.sqrt(2.0)  # makes up for the half that a ReLU takes away


@torch.no_grad()
def make_orthogonal(network: nn.Module) -> None:
    """Set convolutions and linear layers to orthogonal weights and no bias, in place."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            # Made apart: torch cannot write into weights whose channels lie innermost.
            weight = torch.empty(layer.weight.shape)
            layer.weight.copy_(nn.init.orthogonal_(weight, 1.0 if isinstance(layer, OutputLayer) else _RELU_GAIN))
            if layer.bias is not None:
                layer.bias.zero_()
