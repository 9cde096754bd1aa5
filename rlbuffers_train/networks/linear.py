"""Linear layers that are as fast as the processor allows.

On CPUs torch multiplies float32 matrices with MKL, which keeps to 8 numbers at a time on processors that are not
Intel's. oneDNN, which is in torch too and does its convolutions, takes 16 at a time wherever there is AVX-512, and the
product of large matrices takes half the time (measured on an AMD EPYC). `linear` lets oneDNN multiply what is worth
it, by the operator that compiled models use; elsewhere it is torch's own function. Results differ by rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["Linear", "OutputLayer", "is_worth_it", "linear"]

_LEAST_PRODUCTS = 1 << 20  # below, calling costs more than it saves
_LEAST_WIDTH = 16
_NARROW = 4


def _find_operator() -> Any:
    """Return oneDNN's linear layer, or None where this build of torch or this processor has no use for it."""
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not (there and torch.backends.cpu.get_cpu_capability().startswith("AVX512")):
        return None
    # It is none of torch's public functions: it must be there and do what is expected of it.
    inputs, weight, bias = torch.eye(3, 4), torch.arange(8.0).reshape(2, 4), torch.tensor([0.0, -9.0])
    try:
        operator = torch.ops.mkldnn._linear_pointwise
        product = operator(inputs, weight, bias, "relu", [], "")
    except (AttributeError, RuntimeError):
        return None
    return operator if torch.allclose(product, F.relu(F.linear(inputs, weight, bias))) else None


_OPERATOR = _find_operator()


def linear(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, *, rectifies: bool = False) -> torch.Tensor:
    """Return inputs weight^T + bias, or what is positive of it.

    Parameters
    ----------
    inputs : float32, shape (B, inputs)
    weight : float32, shape (outputs, inputs)
        In any order in memory.
    bias : float32, shape (outputs,)
    rectifies : bool
        Whether a ReLU follows.

    Returns
    -------
    float32, shape (B, outputs)
    """
    if is_worth_it(inputs, weight):
        outputs: torch.Tensor = _OneDNN.apply(inputs, weight, bias, rectifies)  # type: ignore[no-untyped-call]
        return outputs
    outputs = F.linear(inputs, weight, bias)
    return F.relu(outputs) if rectifies else outputs


def is_worth_it(inputs: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether `linear` would let oneDNN multiply; not in what torch compiles or exports."""
    return (
        _OPERATOR is not None
        and not torch.compiler.is_compiling()
        and inputs.dim() == 2
        and min(weight.shape) >= _LEAST_WIDTH
        and inputs.shape[0] * weight.numel() >= _LEAST_PRODUCTS
        and inputs.device.type == "cpu"
        and inputs.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
    )


def _product(
    left: torch.Tensor, right: torch.Tensor, bias: torch.Tensor | None = None, activation: str = "none"
) -> torch.Tensor:
    """Return left right^T + bias, through an activation."""
    product: torch.Tensor = _OPERATOR(left, right, bias, activation, [], "")
    return product


class _OneDNN(torch.autograd.Function):
    """The layer and its gradients, all of them products that oneDNN computes."""

    @staticmethod
    def forward(
        ctx: Any, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, rectifies: bool
    ) -> torch.Tensor:
        outputs = _product(inputs, weight, bias, "relu" if rectifies else "none")
        ctx.save_for_backward(inputs, weight, outputs if rectifies else None)
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = gradients
        inputs, weight, rectified = ctx.saved_tensors
        for_inputs, for_weight, for_bias, _ = ctx.needs_input_grad
        if rectified is not None:
            gradient = torch.ops.aten.threshold_backward(gradient, rectified, 0.0)
        return (
            _product(gradient, weight.t()) if for_inputs else None,
            _gradient_of(weight, gradient, inputs) if for_weight else None,
            gradient.sum(dim=0) if for_bias else None,
            None,
        )


def _gradient_of(weight: torch.Tensor, gradient: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Return gradient^T inputs in the order in memory that the weight has."""
    # The left factor is copied, transposed: the narrow one costs less.
    narrow_inputs = inputs.shape[1] * _NARROW <= gradient.shape[1]
    if weight.is_contiguous() and not narrow_inputs:
        return _product(gradient.t(), inputs.t())
    found = _product(inputs.t(), gradient.t()).t()
    return found.contiguous() if weight.is_contiguous() else found


class Linear(nn.Linear):
    """torch's linear layer, computed by `linear`."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (B, inputs) to (B, outputs)."""
        return linear(inputs, self.weight, self.bias)

    def rectified(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (B, inputs) to the ReLU of the outputs, (B, outputs)."""
        return linear(inputs, self.weight, self.bias, rectifies=True)


class OutputLayer(Linear):
    """A linear layer that computes in float32 whatever the layers before it do: values keep their digits."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (B, inputs) to float32 (B, outputs)."""
        if not torch.is_autocast_enabled(inputs.device.type):
            return super().forward(inputs)
        with torch.autocast(inputs.device.type, enabled=False):
            return super().forward(inputs.float())
