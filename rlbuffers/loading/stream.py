"""What a loader asks of a sampler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from rlbuffers.samplers.draws import Drawn
from rlbuffers.windows.base import Batch

__all__ = ["BatchStream"]


class BatchStream(Protocol):
    """Batches in three steps: drawn in order, read by anybody, delivered in order; see `BatchSampler`."""

    @property
    def is_fixed(self) -> bool:
        """Whether the data stay as they are, so that they can be read ahead."""

    @property
    def num_batches(self) -> int:
        """Number of batches that were delivered."""

    def draw(self) -> Drawn:
        """Decide what the next batch is."""

    def read(self, drawn: Drawn) -> Batch:
        """Return the batch that was drawn."""

    def read_together(self, drawn: Sequence[Drawn]) -> list[Batch]:
        """Return several batches."""

    def deliver(self, drawn: Drawn) -> None:
        """Note that somebody got a batch."""

    def require_epochs(self) -> None:
        """Raise an error where batches have no epochs."""

    def state_dict(self, undelivered: list[Drawn] | None = None) -> dict[str, Any]:
        """Return where the stream is."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken."""
