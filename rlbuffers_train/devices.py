"""Which device to compute on, with how many threads, and how exactly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

import torch

from rlbuffers.errors import UsageError
from rlbuffers_train.problem import ProblemSpec
from rlbuffers_train.settings import Settings, setting

__all__ = ["COMPUTE_NAMES", "ComputeSettings", "pick_device", "set_threads", "threads_for"]

_LARGE_LAYER = 1 << 23  # a batch of 256 through 256 x 256 weights is twice this
_MOST_THREADS_OF_VECTORS = 4


@dataclass(frozen=True, kw_only=True)
class ComputeSettings(Settings):
    """How updates are computed: what they are does not change but for rounding.

    In bfloat16 the hidden layers compute with 8 bits of each number; weights, outputs, losses and the optimizer stay
    float32. Compiling needs a C++ compiler and a minute at first, and joins small operations.
    """

    precision: str = setting("float32", "What hidden layers compute in.", choices=("float32", "bfloat16"))
    compile: bool = setting(False, "Whether losses are compiled by torch.compile (0 or 1).")
    threads: int = setting(
        0,
        "Maximum number of torch threads; 0 means one per core. Use fewer when several trainings share a machine.",
        at_least=0,
        at_most=4096,
    )
    onednn: str = setting(
        "auto",
        "Whether oneDNN multiplies large matrices where there is AVX-512; auto: except on Intel's processors.",
        choices=("auto", "on", "off"),
    )


COMPUTE_NAMES = tuple(field.name for field in fields(ComputeSettings))  # may differ when a run is resumed


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
        torch.Generator(device)  # updates draw noise there
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"device {name!r} cannot be used here: {reason}") from error
    return device


def set_threads(problem: ProblemSpec, products: int = 0, most: int = 0) -> None:
    """Give small networks one thread; handing their layers to several costs more than it saves.

    Parameters
    ----------
    problem : ProblemSpec
        Images have convolutions, which are large.
    products : int
        Multiplications in the widest layer for one batch, where vectors are trained on.
    most : int
        How many are allowed; 0 leaves that as it is.
    """
    if most:
        torch.set_num_threads(most)
    if not problem.is_pixels:
        few = 1 if products < _LARGE_LAYER else _MOST_THREADS_OF_VECTORS
        torch.set_num_threads(min(few, torch.get_num_threads()))


@contextmanager
def threads_for(problem: ProblemSpec, products: int = 0, most: int = 0) -> Iterator[None]:
    """Compute with the threads of :func:`set_threads` within this context: they are the whole process's."""
    before = torch.get_num_threads()
    try:
        set_threads(problem, products, most)
        yield
    finally:
        torch.set_num_threads(before)
