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


def _find_operator() -> Any:
    """Return oneDNN's linear layer, or None where this build of torch or this processor has no use for it."""
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    fast = there and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None) if fast else None


_OPERATOR = _find_operator()


def linear(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return inputs weight^T + bias.

    Parameters
    ----------
    inputs : float32, shape (B, inputs)
    weight : float32, shape (outputs, inputs)
        In any order in memory.
    bias : float32, shape (outputs,)

    Returns
    -------
    float32, shape (B, outputs)
    """
    if is_worth_it(inputs, weight):
        outputs: torch.Tensor = _OneDNN.apply(inputs, weight, bias)  # type: ignore[no-untyped-call]
        return outputs
    return F.linear(inputs, weight, bias)


def is_worth_it(inputs: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether `linear` would let oneDNN multiply."""
    return (
        _OPERATOR is not None
        and inputs.dim() == 2
        and min(weight.shape) >= _LEAST_WIDTH
        and inputs.shape[0] * weight.numel() >= _LEAST_PRODUCTS
        and inputs.device.type == "cpu"
        and inputs.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
    )


def _product(left: torch.Tensor, right: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return left right^T + bias."""
    product: torch.Tensor = _OPERATOR(left, right, bias, "none", [], "")
    return product


class _OneDNN(torch.autograd.Function):
    """The layer and its gradients, all of them products that oneDNN computes."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(inputs, weight)
        return _product(inputs, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = gradients
        inputs, weight = ctx.saved_tensors
        for_inputs, for_weight, for_bias = ctx.needs_input_grad
        return (
            _product(gradient, weight.t()) if for_inputs else None,
            _product(gradient.t(), inputs.t()) if for_weight else None,
            gradient.sum(dim=0) if for_bias else None,
        )


class Linear(nn.Linear):
    """torch's linear layer, computed by `linear`."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (B, inputs) to (B, outputs)."""
        return linear(inputs, self.weight, self.bias)


class OutputLayer(Linear):
    """A linear layer that computes in float32 whatever the layers before it do: values keep their digits."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (B, inputs) to float32 (B, outputs)."""
        if not torch.is_autocast_enabled(inputs.device.type):
            return super().forward(inputs)
        with torch.autocast(inputs.device.type, enabled=False):
            return super().forward(inputs.float())
