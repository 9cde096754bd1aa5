"""Random tensors of one seed on one device."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["Noise"]


class Noise:
    """Random numbers that updates need, from a generator of their own whose state checkpoints keep.

    torch's global generator would do on CPUs only: each device has one of its own.

    Parameters
    ----------
    device : torch.device
        Where the tensors are made. The seed is drawn from torch's global generator.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._generator = torch.Generator(device)
        self._generator.manual_seed(int(torch.randint(2**62, ())))

    def normal(self, *shape: int) -> torch.Tensor:
        """Return independent standard normal numbers, float32."""
        return torch.randn(shape, generator=self._generator, device=self._device)

    def uniform(self, *shape: int) -> torch.Tensor:
        """Return independent numbers uniform in [-1, 1), float32."""
        return torch.rand(shape, generator=self._generator, device=self._device) * 2 - 1

    def state_dict(self) -> dict[str, Any]:
        """Return the generator's state, a uint8 tensor on the CPU."""
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self._generator.set_state(state["generator"].cpu())
