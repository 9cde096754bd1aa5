"""What a buffer costs: on disk, and in RAM for each way of training on it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from rlbuffers.reader import Buffer
from rlbuffers.schema import FRAMES, OVERRIDE_OBSERVATIONS, STACK_INDEX

__all__ = ["Footprint", "footprint"]


@dataclass(frozen=True)
class Footprint:
    """Sizes in bytes.

    Parameters
    ----------
    disk_bytes : int
        The file or directory.
    transition_bytes : int
        One transition as a batch holds it, decoded.
    resident_bytes : int
        What must be kept in RAM to sample fast from the file: all columns but frames and their index.
    decoded_bytes : int
        Every stored array decoded, each frame once.
    stacked_bytes : int
        What a library needs that keeps observation and next observation of each transition apart.
    """

    disk_bytes: int
    transition_bytes: int
    resident_bytes: int
    decoded_bytes: int
    stacked_bytes: int

    def to_json(self) -> dict[str, int]:
        """Return the sizes by name."""
        return asdict(self)


def footprint(buffer: Buffer) -> Footprint:
    """Compute the sizes of an open buffer from its metadata."""
    transition = sum(buffer.spec.batch_column(name).row_bytes for name in buffer.spec.batch_names)
    decoded = {name: rows.array.nbytes for name, rows in buffer.arrays.items()}
    on_disk = sum(decoded.get(name, 0) for name in (FRAMES, STACK_INDEX, OVERRIDE_OBSERVATIONS))
    return Footprint(
        disk_bytes=buffer.store_disk_bytes,
        transition_bytes=transition,
        resident_bytes=sum(decoded.values()) - on_disk,
        decoded_bytes=sum(decoded.values()),
        stacked_bytes=transition * len(buffer),
    )
