"""``sampler.loader(...)``: from arguments to a loader."""

from __future__ import annotations

from typing import Any

from rlbuffers.loading.loader import Loader, NumpyBatches
from rlbuffers.loading.stream import BatchStream
from rlbuffers.optional import require

__all__ = ["make_loader"]

_PREFETCH = 4


def make_loader(
    sampler: BatchStream, *, prefetch: int | None = None, workers: int = 1, device: Any = None
) -> Loader[Any]:
    """Return a loader over a sampler.

    Parameters
    ----------
    sampler : BatchStream
        Draws and reads.
    prefetch : int, optional
        Number of batches read ahead, 4 by default. Without threads, the number that is read by one call, 1 by default.
    workers : int, default 1
        Number of threads that read; 0 reads in the thread that asks for a batch.
    device : str or torch.device, optional
        Batches are dicts of tensors there; dicts of NumPy arrays without one. For a GPU, batches wait in
        pinned memory and are copied without blocking.

    Raises
    ------
    MissingDependencyError
        If a device is given and torch is not installed.
    UsageError
        If a number is out of range, or torch knows no such device.
    """
    if prefetch is None:
        prefetch = _PREFETCH if workers else 1
    if device is None:
        return Loader(sampler, NumpyBatches(), prefetch=prefetch, workers=workers)
    require("torch", extra="train", purpose="loader(device=...)")
    from rlbuffers.adapters.torch_batches import tensor_dicts

    return Loader(sampler, tensor_dicts(device), prefetch=prefetch, workers=workers)
