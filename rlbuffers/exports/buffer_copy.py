"""The same buffer in the other container: HDF5 to Zarr and back, with the same fingerprint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rlbuffers.conversion.convert import convert
from rlbuffers.exports.base import Export
from rlbuffers.reader import Buffer
from rlbuffers.sources.buffer_selection import BufferSelection
from rlbuffers.tally import Tally, tally_of

__all__ = ["HDF5BufferExport", "ZarrBufferExport"]


class _BufferExport(Export):
    """Writes past the path's own name, which may not tell the container."""

    tells_all = True

    def keep(self, path: Path, document: dict[str, Any]) -> None:
        """Write nothing more: the copy has metadata of its own."""

    def write(self, path: Path, on_progress: Callable[[int], None]) -> None:
        """Copy row by row; memory is bounded by an episode, or by some batches."""
        convert(
            BufferSelection(self.buffer),
            path.with_name(path.name + self.suffix),
            on_progress=lambda done, total, count: on_progress(count),
            expected_fingerprint=self.buffer.fingerprint,
            into=path,
        )

    def tally(self, path: Path) -> Tally:
        """Open the copy."""
        with Buffer(path) as copy:
            return tally_of(copy)

    def left_out(self) -> Sequence[str]:
        """See base class."""
        return []


class HDF5BufferExport(_BufferExport):
    """To ``.hdf5``."""

    suffix = ".hdf5"


class ZarrBufferExport(_BufferExport):
    """To ``.zarr``."""

    suffix = ".zarr"
