"""Linear layers, and chains of them with ReLUs between, that are as fast as the processor allows.

On CPUs torch multiplies float32 matrices with MKL, which keeps to 8 numbers at a time on processors that are not
Intel's. oneDNN, which is in torch too and does its convolutions, takes 16 at a time wherever there is AVX-512, and the
product of large matrices takes half the time (measured on an AMD EPYC). On Intel's processors MKL takes 16 as well, and
oneDNN is slower. `chain` lets oneDNN multiply what is worth it, by the operator that compiled models use; elsewhere it
is torch's own function. Results differ by rounding.

A chain is one node of torch's graph: its gradients are computed by one call, as a layer of 256 x 256 weights takes no
longer than what torch does between two nodes of Python's.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from rlbuffers_train.torch_operators import find_onednn_linear, find_relu_gradient

__all__ = ["Layer", "Linear", "OutputLayer", "chain", "is_worth_it", "onednn_as"]

Layer = tuple[torch.Tensor, torch.Tensor]  # weight (outputs, inputs), in any order in memory; bias (outputs,)

_LEAST_PRODUCTS = 1 << 20  # below, calling costs more than it saves
_LEAST_WIDTH = 16
_NARROW = 4


def _is_intel() -> bool:
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return True  # elsewhere processors with AVX-512 are


_OPERATOR = find_onednn_linear()
_RELU_GRADIENT = find_relu_gradient()
_pays_here = {"auto": not _is_intel(), "on": True, "off": False}
_is_used = _pays_here["auto"]


@contextmanager
def onednn_as(choice: str) -> Iterator[None]:
    """Let oneDNN multiply large matrices within this context, or not; it is the whole process's.

    Parameters
    ----------
    choice : {"auto", "on", "off"}
        ``auto`` uses it where MKL leaves half of AVX-512 unused. It is never used where it is missing.
    """
    global _is_used
    before, _is_used = _is_used, _pays_here[choice]
    try:
        yield
    finally:
        _is_used = before


def chain(inputs: torch.Tensor, layers: Sequence[Layer], *, rectifies: bool = False) -> torch.Tensor:
    """Return what layers with ReLUs between them make of inputs.

    Parameters
    ----------
    inputs : float32, shape (B, inputs)
    layers : sequence of (weight, bias)
        float32, shapes (outputs, inputs) and (outputs,).
    rectifies : bool
        Whether a ReLU follows the last one, too.

    Returns
    -------
    float32, shape (B, outputs)
    """
    if any(is_worth_it(inputs, weight) for weight, _ in layers):
        outputs: torch.Tensor = _Chain.apply(inputs, rectifies, *itertools.chain(*layers))  # type: ignore[no-untyped-call]
        return outputs
    for number, (weight, bias) in enumerate(layers, 1):
        inputs = F.linear(inputs, weight, bias)
        if rectifies or number < len(layers):
            inputs = F.relu(inputs)
    return inputs


def is_worth_it(inputs: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether oneDNN would multiply a batch of as many rows by `weight`; not in what torch compiles or exports."""
    return (
        _OPERATOR is not None
        and _is_used
        and not torch.compiler.is_compiling()
        and inputs.dim() == 2
        and _pays(inputs.shape[0], weight)
        and inputs.device.type == "cpu"
        and inputs.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
    )


def _pays(rows: int, weight: torch.Tensor) -> bool:
    return min(weight.shape) >= _LEAST_WIDTH and rows * weight.numel() >= _LEAST_PRODUCTS


class _Chain(torch.autograd.Function):
    """Layers and their gradients, of whose products oneDNN computes those that it pays for."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, rectifies: bool, *parameters: torch.Tensor) -> torch.Tensor:
        weights, biases = parameters[::2], parameters[1::2]
        activations = [inputs]
        for number, (weight, bias) in enumerate(zip(weights, biases, strict=True), 1):
            activations.append(_layer(activations[-1], weight, bias, rectifies or number < len(weights)))
        ctx.num_layers, ctx.rectifies = len(weights), rectifies
        ctx.save_for_backward(*weights, *(activations if rectifies else activations[:-1]))
        return activations[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        saved, count = ctx.saved_tensors, ctx.num_layers
        weights, activations = saved[:count], saved[count:]
        for_inputs, _, *for_parameters = ctx.needs_input_grad
        found: list[torch.Tensor | None] = [None] * len(for_parameters)
        for number in reversed(range(count)):
            if ctx.rectifies or number < count - 1:
                gradient = _gradient_before_relu(gradient, activations[number + 1], in_place=number < count - 1)
            if for_parameters[2 * number]:
                found[2 * number] = _gradient_of(weights[number], gradient, activations[number])
            if for_parameters[2 * number + 1]:
                found[2 * number + 1] = gradient.sum(dim=0)
            if not (for_inputs or any(for_parameters[: 2 * number])):
                break  # nobody asks for what is before
            gradient = _gradient_before(weights[number], gradient)
        return gradient if for_inputs else None, None, *found


def _layer(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, rectifies: bool) -> torch.Tensor:
    if _pays(len(inputs), weight):
        return _product(inputs, weight, bias, "relu" if rectifies else "none")
    outputs = F.linear(inputs, weight, bias)
    return F.relu_(outputs) if rectifies else outputs


def _gradient_before(weight: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Return the gradient of a layer's inputs."""
    return _product(gradient, weight.t()) if _pays(len(gradient), weight) else gradient @ weight


def _gradient_before_relu(gradient: torch.Tensor, rectified: torch.Tensor, *, in_place: bool) -> torch.Tensor:
    found: torch.Tensor
    if _RELU_GRADIENT is None:
        found = (gradient.masked_fill_ if in_place else gradient.masked_fill)(rectified <= 0.0, 0.0)
    elif in_place:  # memory that is in the processor's cache already
        found = _RELU_GRADIENT.grad_input(gradient, rectified, 0.0, grad_input=gradient)
    else:
        found = _RELU_GRADIENT(gradient, rectified, 0.0)
    return found


def _gradient_of(weight: torch.Tensor, gradient: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Return gradient^T inputs in the order in memory that the weight has."""
    is_contiguous = weight.is_contiguous()
    if not _pays(len(inputs), weight):
        return gradient.t() @ inputs if is_contiguous else (inputs.t() @ gradient).t()
    # The left factor is copied, transposed: the narrow one costs less.
    narrow_inputs = inputs.shape[1] * _NARROW <= gradient.shape[1]
    if is_contiguous and not narrow_inputs:
        return _product(gradient.t(), inputs.t())
    found = _product(inputs.t(), gradient.t()).t()
    return found.contiguous() if is_contiguous else found


def _product(
    left: torch.Tensor, right: torch.Tensor, bias: torch.Tensor | None = None, activation: str = "none"
) -> torch.Tensor:
    """Return left right^T + bias, through an activation."""
    product: torch.Tensor = _OPERATOR(left, right, bias, activation, [], "")
    return product


class Linear(nn.Linear):
    """torch's linear layer, computed by `chain`."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (B, inputs) to (B, outputs)."""
        return chain(inputs, [(self.weight, self.bias)])


class OutputLayer(Linear):
    """A linear layer that computes in float32 whatever the layers before it do: values keep their digits."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (B, inputs) to float32 (B, outputs)."""
        if not torch.is_autocast_enabled(inputs.device.type):
            return super().forward(inputs)
        with torch.autocast(inputs.device.type, enabled=False):
            return super().forward(inputs.float())
