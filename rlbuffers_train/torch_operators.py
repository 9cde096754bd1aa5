"""torch's operators without a public name: each is used only if it exists and is right on a small example."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

__all__ = ["find_lerp", "find_onednn_linear", "find_relu_gradient"]

_MISSING = (AttributeError, RuntimeError, TypeError, NotImplementedError)


def find_onednn_linear() -> Any:
    """Return oneDNN's linear layer, ``(inputs, weight, bias, activation, [], "")``; None where it has no use.

    That is where torch is built without it, or the processor has no AVX-512.
    """
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not (there and torch.backends.cpu.get_cpu_capability().startswith("AVX512")):
        return None
    inputs, weight, bias = torch.eye(3, 4), torch.arange(8.0).reshape(2, 4), torch.tensor([0.0, -9.0])
    try:
        operator = torch.ops.mkldnn._linear_pointwise
        is_right = torch.allclose(
            operator(inputs, weight, bias, "relu", [], ""), F.relu(F.linear(inputs, weight, bias))
        )
    except _MISSING:
        return None
    return operator if is_right else None


def find_relu_gradient() -> Any:
    """Return the gradient of a ReLU, ``(gradient, rectified, 0.0)``; its ``grad_input`` writes where it is told."""
    gradient, rectified = torch.tensor([1.0, 2.0, -3.0]), torch.tensor([0.0, 5.0, 0.5])
    try:
        operator = torch.ops.aten.threshold_backward
        found = operator(gradient, rectified, 0.0)
        operator.grad_input(gradient, rectified, 0.0, grad_input=gradient)
    except _MISSING:
        return None
    return operator if gradient.tolist() == found.tolist() == [0.0, 2.0, -3.0] else None


def find_lerp() -> Any:
    """Return what moves many tensors towards others by a share, in place: ``(tensors, ends, share)``."""
    tensors, ends = [torch.zeros(2), torch.ones(1)], [torch.tensor([4.0, -8.0]), torch.zeros(1)]
    try:
        operator = torch._foreach_lerp_
        operator(tensors, ends, 0.25)
    except _MISSING:
        return None
    return operator if [tensor.tolist() for tensor in tensors] == [[1.0, -2.0], [0.75]] else None
