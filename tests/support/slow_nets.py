"""Networks, their gradients and Adam in NumPy and float64, to hold the algorithms against."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

Array = np.ndarray[Any, Any]
Layers = list[tuple[Array, Array]]  # weights (inputs, outputs) and biases (outputs,)


class Mlp:
    """Linear layers with a ReLU after each but the last."""

    def __init__(self, layers: Layers) -> None:
        self.layers = [(weight.copy(), bias.copy()) for weight, bias in layers]

    def __call__(self, inputs: Array) -> Array:
        return self.trace(inputs)[-1]

    def trace(self, inputs: Array) -> list[Array]:
        """Return the inputs of each layer, and the outputs."""
        values = [inputs]
        for number, (weight, bias) in enumerate(self.layers):
            values.append(values[-1] @ weight + bias)
            if number < len(self.layers) - 1:
                values[-1] = np.maximum(values[-1], 0.0)
        return values

    def gradient(self, inputs: Array, slope: Array) -> tuple[Layers, Array]:
        """Return the gradients of the layers and of the inputs of sum(slope * outputs)."""
        values = self.trace(inputs)
        found: Layers = []
        for number in reversed(range(len(self.layers))):
            weight, _ = self.layers[number]
            found.append((values[number].T @ slope, slope.sum(axis=0)))
            slope = slope @ weight.T
            if number:
                slope = slope * (values[number] > 0)
        return found[::-1], slope


class Adam:
    """Adam over lists of arrays, which it changes in place."""

    def __init__(self, lr: float, eps: float = 1e-8) -> None:
        self._lr, self._eps, self._step = lr, eps, 0
        self._means: list[Array] = []
        self._squares: list[Array] = []

    def step(self, parameters: list[Array], gradients: list[Array], lr: float | None = None) -> None:
        self._step += 1
        if not self._means:
            self._means = [np.zeros_like(value) for value in parameters]
            self._squares = [np.zeros_like(value) for value in parameters]
        for value, gradient, mean, square in zip(parameters, gradients, self._means, self._squares, strict=True):
            mean[...] = 0.9 * mean + 0.1 * gradient
            square[...] = 0.999 * square + 0.001 * gradient**2
            spread = np.sqrt(square / (1 - 0.999**self._step))
            value -= (self._lr if lr is None else lr) * mean / (1 - 0.9**self._step) / (spread + self._eps)


def flat(layers: Layers) -> list[Array]:
    """Return weights and biases in one list."""
    return [array for layer in layers for array in layer]


def descend(critics: list[Mlp], adams: list[Adam], inputs: Array, targets: Array) -> float:
    """Move critics of one output towards targets, by the mean square; return the sum of their losses before."""
    loss = 0.0
    for critic, adam in zip(critics, adams, strict=True):
        errors = critic(inputs)[:, 0] - targets
        loss += (errors**2).mean()
        gradients, _ = critic.gradient(inputs, 2 * errors[:, None] / len(inputs))
        adam.step(flat(critic.layers), flat(gradients))
    return loss


def follow(target: Mlp, online: Mlp, tau: float) -> None:
    """Move a target network."""
    for old, new in zip(flat(target.layers), flat(online.layers), strict=True):
        old += tau * (new - old)


def mlp_of(module: torch.nn.Module) -> Mlp:
    """Return the NumPy twin of a module made of linear layers."""
    linear = [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)]
    return Mlp([(numpy_of(layer.weight).T, numpy_of(layer.bias)) for layer in linear])


def member_of(critics: Any, number: int) -> Mlp:
    """Return the NumPy twin of one member of a `CriticEnsemble` without norms."""
    layers = [*critics.hidden, critics.last]
    return Mlp([(numpy_of(layer.weight)[number], numpy_of(layer.bias)[number, 0]) for layer in layers])


def numpy_of(tensor: torch.Tensor) -> Array:
    return tensor.detach().numpy().astype(np.float64)


class SeededNoise:
    """What `rlbuffers_train.noise.Noise` gives, from NumPy, so that both sides can draw the same."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def normal_array(self, *shape: int) -> Array:
        return self._rng.standard_normal(shape)

    def uniform_array(self, *shape: int) -> Array:
        return self._rng.uniform(-1, 1, shape)

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.from_numpy(self.normal_array(*shape))

    def uniform(self, *shape: int) -> torch.Tensor:
        return torch.from_numpy(self.uniform_array(*shape))


def in_double(algorithm: Any, noise_seed: int = 0) -> Any:
    """Return the algorithm with weights in float64 and noise from NumPy."""
    for part in vars(algorithm).values():
        if isinstance(part, torch.nn.Module):
            part.double()
    algorithm.noise = SeededNoise(noise_seed)
    return algorithm


def assert_same(found: Mlp, expected: Mlp) -> None:
    """Compare weights."""
    for mine, theirs in zip(flat(found.layers), flat(expected.layers), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-7)


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
