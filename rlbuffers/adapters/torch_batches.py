"""Batches of a loader as torch tensors on a device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from rlbuffers.errors import UsageError
from rlbuffers.windows.base import Batch

__all__ = ["TorchBatches", "as_tensor", "tensor_dicts"]

T = TypeVar("T")
Tensors = dict[str, torch.Tensor]
TensorFunction = Callable[[torch.Tensor], torch.Tensor]


class TorchBatches(Generic[T]):
    """Batches of tensors; those for a GPU wait in pinned memory, and are copied while the GPU computes.

    Parameters
    ----------
    device : str or torch.device
        Where the tensors go. On the CPU they share the memory of the arrays.
    make : callable
        Turns a dict of arrays into tensors in memory, of whatever form; called in the thread that read the batch.
    mapped : callable
        Given a function of a tensor and what `make` returns, applies it to every tensor.

    Raises
    ------
    UsageError
        If torch knows no such device, or it is not there.
    """

    def __init__(
        self, device: str | torch.device, make: Callable[[Batch], T], mapped: Callable[[TensorFunction, T], T]
    ) -> None:
        try:
            self._device = torch.device(device)
            torch.empty(0, device=self._device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise UsageError(f"device {str(device)!r} cannot be used here: {str(error).splitlines()[0]}") from error
        self._make = make
        self._mapped = mapped

    def prepare(self, batch: Batch) -> T:
        """Return tensors in memory, pinned if they go to a GPU."""
        made = self._make(batch)
        return self._mapped(torch.Tensor.pin_memory, made) if self._device.type == "cuda" else made

    def hand_over(self, prepared: T) -> T:
        """Return the tensors on the device; a copy to a GPU is queued on its current stream."""
        if self._device.type == "cpu":
            return prepared
        return self._mapped(lambda tensor: tensor.to(self._device, non_blocking=True), prepared)


def tensor_dicts(device: str | torch.device) -> TorchBatches[Tensors]:
    """Return what makes dicts of tensors under the names of the columns."""
    return TorchBatches(
        device,
        lambda batch: {name: as_tensor(values) for name, values in batch.items()},
        lambda function, tensors: {name: function(tensor) for name, tensor in tensors.items()},
    )


def as_tensor(values: np.ndarray[Any, Any]) -> torch.Tensor:
    """Return an array as a tensor of the same dtype, which shares its memory unless that is read-only."""
    # torch would warn that writing into a read-only array's tensor is undefined.
    return torch.from_numpy(values if values.flags.writeable else values.copy())
