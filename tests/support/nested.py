"""Comparing states: tensors in dicts in lists."""

from __future__ import annotations

from typing import Any

import torch


def same(first: Any, second: Any) -> bool:
    """Whether both hold the same, to the last bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(value, second[name]) for name, value in first.items())
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)
