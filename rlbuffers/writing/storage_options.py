"""How tightly and in which pieces a buffer is stored, where not by default. The content stays the same."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from rlbuffers.errors import UsageError
from rlbuffers.fingerprint import BLOCK_ROWS
from rlbuffers.schema import FRAMES, ArraySpec, BufferSpec
from rlbuffers.stores.chunking import chunk_rows
from rlbuffers.stores.codecs import Codec, ZlibCodec, ZstdCodec

__all__ = ["StorageOptions"]

_LEVELS = {ZlibCodec: (0, 3, "gzip by ISA-L"), ZstdCodec: (1, 22, "Zstandard")}
# The writer keeps this many bytes of an array until they fill both chunks and fingerprint blocks.
_MAX_UNIT_BYTES = 64 << 20


@dataclass(frozen=True)
class StorageOptions:
    """What may be chosen; None is the default of the container.

    Parameters
    ----------
    level : int, optional
        Compression: 0 to 3 in HDF5, 1 to 22 in Zarr. Higher is smaller and slower to write. The defaults for
        images are others, which decode faster.
    chunk_rows : int, optional
        Rows of one chunk of every array but the frames: a power of two below 256, or a multiple of 256.
    frames_per_chunk : int, optional
        Frames of one chunk in the ``episodes`` layout. Independent transitions are one chunk each.

    Raises
    ------
    UsageError
        If a number cannot be obeyed.
    """

    level: int | None = None
    chunk_rows: int | None = None
    frames_per_chunk: int | None = None

    def __post_init__(self) -> None:
        rows = self.chunk_rows
        if rows is not None and (rows < 1 or (rows % BLOCK_ROWS and BLOCK_ROWS % rows)):
            raise UsageError(f"chunk rows {rows}: expected a power of two below {BLOCK_ROWS}, or a multiple of it")
        if self.frames_per_chunk is not None and self.frames_per_chunk < 1:
            raise UsageError(f"frames per chunk {self.frames_per_chunk}: expected at least 1")

    def rows_of(self, array: ArraySpec, spec: BufferSpec) -> int:
        """Return the number of rows of one chunk of an array.

        Raises
        ------
        UsageError
            If frames of independent transitions were to be cut otherwise, or a chunk gets too large.
        """
        default = chunk_rows(array, spec)
        if array.name != FRAMES:
            chosen = default if self.chunk_rows is None else self.chunk_rows
        elif spec.layout == "transitions" and self.frames_per_chunk not in (None, default):
            raise UsageError(f"frames per chunk: the {default} frames of an independent transition are one chunk")
        else:
            chosen = default if self.frames_per_chunk is None else self.frames_per_chunk
        if chosen != default and math.lcm(chosen, BLOCK_ROWS) * array.row_bytes > _MAX_UNIT_BYTES:
            raise UsageError(
                f"chunks of {chosen} rows of {array.name!r} need more than {_MAX_UNIT_BYTES >> 20} MiB while writing; "
                "choose fewer, or a divisor or multiple of 256"
            )
        return chosen

    def codec_of(self, codec: Codec) -> Codec:
        """Return a store's codec with the chosen level.

        Raises
        ------
        UsageError
            If the container has no such level.
        """
        if self.level is None or not isinstance(codec, ZlibCodec | ZstdCodec):
            return codec
        low, high, name = _LEVELS[type(codec)]
        if not low <= self.level <= high:
            raise UsageError(f"level {self.level}: expected {low} to {high} ({name})")
        if isinstance(codec, ZlibCodec):
            codec = dataclasses.replace(codec, image_bytes=0)
        return dataclasses.replace(codec, level=self.level)
