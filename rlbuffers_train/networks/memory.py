"""A bound on the memory of networks, which is compared with what they ask for before they get it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rlbuffers.diagnosis.machine import memory_bytes
from rlbuffers.errors import UsageError

__all__ = ["MAX_WEIGHT_BYTES", "weights_within", "within_memory"]

# 268 million weights, target networks included; the largest published networks here have some millions.
MAX_WEIGHT_BYTES = 1 << 30
_COPIES = 4  # a weight, its gradient and two averages of Adam
_NEW = ("empty", "zeros", "ones", "full", "rand", "randn")  # their first argument is the shape
_LIKE = ("clone", "empty_like", "zeros_like", "ones_like")


@contextmanager
def within_memory() -> Iterator[None]:
    """Refuse to make more weights in this context than `MAX_WEIGHT_BYTES`, or than this machine can train.

    Raises
    ------
    UsageError
        Before the memory is taken.
    """
    _, available = memory_bytes()
    limit = min(MAX_WEIGHT_BYTES, available // _COPIES or MAX_WEIGHT_BYTES)
    with weights_within(limit, f"the networks need more than {limit / 2**20:,.0f} MiB of weights; use smaller layers"):
        yield


@contextmanager
def weights_within(limit: int, refusal: str) -> Iterator[None]:
    """Refuse to make more bytes of tensors in this context than a limit.

    Parameters
    ----------
    limit : int
        In bytes.
    refusal : str
        The message.

    Raises
    ------
    UsageError
        Before the memory is taken.
    """
    with _Counted(limit, refusal):
        yield


class _Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what is asked of torch; what is freed again counts too, as little is while networks are made."""

    def __init__(self, limit: int, refusal: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._left = limit
        self._refusal = refusal

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in _NEW:
            self._left -= math.prod(args[0]) * ((kwargs or {}).get("dtype") or torch.get_default_dtype()).itemsize
        elif name in _LIKE:
            self._left -= args[0].numel() * args[0].element_size()
        if self._left < 0:
            raise UsageError(self._refusal)
        return func(*args, **(kwargs or {}))
