"""What turns observations into vectors, and fully connected layers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import nn

from rlbuffers.errors import UsageError
from rlbuffers_train.networks.linear import Linear, OutputLayer, chain
from rlbuffers_train.problem import ProblemSpec

__all__ = ["FlatFeatures", "PixelFeatures", "make_features", "mlp"]

# (filters, kernel size, stride) of Mnih et al. 2015, "Human-level control through deep RL".
_NATURE_LAYERS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
_LARGEST_PIXEL = 255.0


class PixelFeatures(nn.Module):
    """The convolutions of the Nature DQN over a stack of grayscale frames.

    Pixels are divided by 255 here and nowhere else, unless they are not to be.

    Parameters
    ----------
    observation_shape : (frames, height, width)
    scales_pixels : bool
        False leaves them from 0 to 255, which some published code does; its learning rates are for that.

    Raises
    ------
    UsageError
        If the frames are too small for the convolutions.
    """

    def __init__(self, observation_shape: Sequence[int], *, scales_pixels: bool = True) -> None:
        super().__init__()
        self._divisor = _LARGEST_PIXEL if scales_pixels else 1.0
        channels, height, width = observation_shape
        layers: list[nn.Module] = []
        for filters, kernel, stride in _NATURE_LAYERS:
            layers += [nn.Conv2d(channels, filters, kernel, stride), nn.ReLU()]
            channels = filters
            height, width = ((size - kernel) // stride + 1 for size in (height, width))
        if min(height, width) < 1:
            raise UsageError(
                f"observations of shape {tuple(observation_shape)} are read as frames, height and width of images; the "
                "convolutions need frames first, and 36 x 36 pixels at least"
            )
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        # Four frames do not fill a vector unit, so that with the frames innermost the first layer is twice as fast.
        self.convolutions.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.num_features = channels * height * width

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Map uint8 (B, frames, height, width) to float32 (B, num_features)."""
        device = observations.device.type
        # Whole numbers to 255 are exact in bfloat16 too.
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
        pixels = observations.to(dtype).contiguous(memory_format=torch.channels_last)
        features: torch.Tensor = self.convolutions(pixels.div_(self._divisor))
        return features


class FlatFeatures(nn.Module):
    """Observations that are vectors already: no parameters, only flattened."""

    def __init__(self, observation_shape: Sequence[int]) -> None:
        super().__init__()
        self.num_features = math.prod(observation_shape)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Map (B, *obs) to float32 (B, num_features)."""
        return observations.flatten(start_dim=1)


class _Perceptron(nn.Sequential):
    """Linear layers with a ReLU after each but the last, computed as one."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (B, inputs) to float32 (B, outputs)."""
        *hidden, last = [layer for layer in self if isinstance(layer, Linear)]
        layers = [(layer.weight, layer.bias) for layer in hidden]
        if not torch.is_autocast_enabled(inputs.device.type):
            return chain(inputs, [*layers, (last.weight, last.bias)])
        outputs: torch.Tensor = last(chain(inputs, layers, rectifies=True))
        return outputs


def mlp(num_inputs: int, hidden_sizes: Sequence[int], num_outputs: int) -> nn.Sequential:
    """Return linear layers with a ReLU after each but the last."""
    sizes = [num_inputs, *hidden_sizes]
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [Linear(inputs, outputs), nn.ReLU()]
    return _Perceptron(*layers, OutputLayer(sizes[-1], num_outputs))


def make_features(problem: ProblemSpec, *, scales_pixels: bool) -> PixelFeatures | FlatFeatures:
    """Return what turns the observations of a problem into vectors."""
    if problem.is_pixels:
        return PixelFeatures(problem.observation_shape, scales_pixels=scales_pixels)
    return FlatFeatures(problem.observation_shape)
