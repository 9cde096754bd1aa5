"""Which device to compute on, and with how many threads."""

from __future__ import annotations

import torch

from rlbuffers.errors import UsageError
from rlbuffers_train.problem import ProblemSpec

__all__ = ["pick_device", "set_threads"]


def pick_device(name: str) -> torch.device:
    """Return the device of that name; ``auto`` is CUDA where there is one, else the CPU.

    Raises
    ------
    UsageError
        If torch knows no such device or this machine has none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"device {name!r} cannot be used here: {reason}") from error
    return device


def set_threads(problem: ProblemSpec) -> None:
    """Give small networks one thread; handing their layers to several costs more than it saves."""
    if not problem.is_pixels:
        torch.set_num_threads(1)
