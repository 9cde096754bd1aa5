"""Batches of a loader as torch tensors on a device."""

from __future__ import annotations

import torch

from rlbuffers.errors import UsageError
from rlbuffers.windows.base import Batch

__all__ = ["TorchBatches"]


class TorchBatches:
    """Dicts of tensors; those for a GPU wait in pinned memory, and are copied while the GPU computes.

    Parameters
    ----------
    device : str or torch.device
        Where the tensors go. On the CPU they share the memory of the arrays.

    Raises
    ------
    UsageError
        If torch knows no such device, or it is not there.
    """

    def __init__(self, device: str | torch.device) -> None:
        try:
            self._device = torch.device(device)
            torch.empty(0, device=self._device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise UsageError(f"device {str(device)!r} cannot be used here: {str(error).splitlines()[0]}") from error
        self._is_cuda = self._device.type == "cuda"

    def prepare(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return tensors in memory, pinned if they go to a GPU."""
        # torch would warn that writing into a read-only array's tensor is undefined.
        arrays = {name: values if values.flags.writeable else values.copy() for name, values in batch.items()}
        tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}
        return {name: tensor.pin_memory() for name, tensor in tensors.items()} if self._is_cuda else tensors

    def hand_over(self, prepared: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the tensors on the device; a copy to a GPU is queued on its current stream."""
        if self._device.type == "cpu":
            return prepared
        return {name: tensor.to(self._device, non_blocking=True) for name, tensor in prepared.items()}
