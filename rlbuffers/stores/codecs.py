"""How one chunk becomes bytes and how the bytes become the chunk again.

A codec is a small picklable value, so that chunks can be encoded in other processes. Every codec's
bytes carry a checksum that decoding verifies: Adler-32 inside a zlib stream (RFC 1950), CRC-32C
behind a Zstandard frame (RFC 8878). Chunks are decoded many at a time, as batches need them.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

__all__ = ["Codec", "CodecError", "RawCodec", "ZlibCodec", "ZstdCodec", "image_bytes_of"]

_CRC_BYTES = 4


class CodecError(ValueError):
    """The bytes of a chunk do not decode to what was encoded.

    Parameters
    ----------
    index : int
        Which of the chunks that were to be decoded.
    problem : str
        What is wrong with it; callers add the place.
    """

    def __init__(self, index: int, problem: str) -> None:
        super().__init__(problem)
        self.index = index


class Codec(Protocol):
    """Turns the bytes of one chunk into their stored form and back."""

    def encode(self, chunk: np.ndarray[Any, Any]) -> bytes:
        """Return the stored form of a C-ordered chunk."""

    def decode(self, stored: Sequence[memoryview], size: int, target: memoryview) -> None:
        """Decode chunks of `size` bytes each, one after the other, into `target`.

        Raises
        ------
        CodecError
            If stored bytes fail their checksum or hold another number of bytes.
        """


def image_bytes_of(dtype: np.dtype[Any], row_shape: tuple[int, ...]) -> int:
    """Return the size of an image if rows of an array are images or stacks of them, else 0.

    Rows of unsigned bytes with two axes or more are: (..., height, width), or (..., height, width, 3 or 4).
    """
    if dtype != np.uint8 or len(row_shape) < 2:
        return 0
    has_colors = len(row_shape) > 2 and row_shape[-1] in (1, 3, 4)
    return math.prod(row_shape[-3:] if has_colors else row_shape[-2:])


@dataclass(frozen=True)
class RawCodec:
    """No compression: the memory store's form."""

    def encode(self, chunk: np.ndarray[Any, Any]) -> bytes:
        """Return the chunk's bytes."""
        return chunk.tobytes()

    def decode(self, stored: Sequence[memoryview], size: int, target: memoryview) -> None:
        """Copy the stored bytes."""
        for index, chunk in enumerate(stored):
            if len(chunk) != size:
                raise CodecError(index, f"holds {len(chunk)} bytes, expected {size}")
            target[index * size : (index + 1) * size] = chunk


@dataclass(frozen=True)
class ZlibCodec:
    """HDF5's ``gzip`` filter, after its ``shuffle`` filter where items have several bytes.

    Parameters
    ----------
    shuffle_bytes : int, default 1
        Item size for the shuffle filter: the first bytes of all items, then the second ones, ...
        1 means no shuffling.
    level : int, default 1
        ISA-L's compression level, 0 to 3. Level 1 writes ten times faster than zlib's level 4 and
        decodes faster, for 8% more bytes (docs/benchmarks.md).
    image_bytes : int, default 0
        Size of an image, if chunks hold images of bytes: such are compressed to be inflated quickly,
        see `rlbuffers.stores.image_deflate`, whatever the level. 0 for other data.
    """

    shuffle_bytes: int = 1
    level: int = 1
    image_bytes: int = 0

    def encode(self, chunk: np.ndarray[Any, Any]) -> bytes:
        """Return a zlib stream."""
        if self.image_bytes:
            from rlbuffers.stores.image_deflate import compress_images

            stream = compress_images(chunk, self.image_bytes)
            if stream is not None:
                return stream
        from isal import isal_zlib

        data: bytes = chunk.tobytes()
        if self.shuffle_bytes > 1:
            data = np.frombuffer(data, np.uint8).reshape(-1, self.shuffle_bytes).T.tobytes()
        compressed: bytes = isal_zlib.compress(data, self.level)
        return compressed

    def decode(self, stored: Sequence[memoryview], size: int, target: memoryview) -> None:
        """Inflate and compare the Adler-32 checksums."""
        inflate, inflate_error = _libdeflate()
        position = 0
        try:
            for chunk in stored:
                data = inflate(chunk, size)
                if self.shuffle_bytes > 1:
                    data = np.frombuffer(data, np.uint8).reshape(self.shuffle_bytes, -1).T.tobytes()
                target[position : position + size] = data  # refuses data of any other size
                position += size
        except (inflate_error, ValueError) as error:
            raise CodecError(position // size, f"not a whole zlib stream of {size} bytes") from error


@dataclass(frozen=True)
class ZstdCodec:
    """Zarr v3's ``zstd`` codec followed by its ``crc32c`` codec.

    Parameters
    ----------
    level : int, default 1
        Zstandard's compression level; negative ones do without Huffman codes and decode faster.
    """

    level: int = 1

    def encode(self, chunk: np.ndarray[Any, Any]) -> bytes:
        """Return a Zstandard frame and the little-endian CRC-32C of it."""
        from google_crc32c import value as crc32c

        frame: bytes = _zstd_compressor(self.level).compress(chunk.data.cast("B"))
        checksum: int = crc32c(frame)
        return frame + checksum.to_bytes(_CRC_BYTES, "little")

    def decode(self, stored: Sequence[memoryview], size: int, target: memoryview) -> None:
        """Compare the CRC-32C checksums and decompress."""
        content_size, decompress, zstd_error, crc32c = _zstd_reading()
        position = 0
        try:
            for chunk in stored:
                frame = bytes(chunk[:-_CRC_BYTES])
                if crc32c(frame) != int.from_bytes(chunk[-_CRC_BYTES:], "little"):
                    raise CodecError(position // size, "its CRC-32C does not fit")
                # Asked first: the decompressor allocates whatever the frame announces.
                if content_size(frame) != size:
                    raise CodecError(position // size, f"announces {content_size(frame)} bytes, expected {size}")
                target[position : position + size] = decompress(frame)
                position += size
        except (zstd_error, ValueError) as error:
            if isinstance(error, CodecError):
                raise
            raise CodecError(position // size, f"not a whole Zstandard frame of {size} bytes") from error


@functools.cache
def _libdeflate() -> tuple[Any, type[Exception]]:
    import deflate

    return deflate.zlib_decompress, deflate.DeflateError


@functools.cache
def _zstd_compressor(level: int) -> Any:
    import zstandard

    return zstandard.ZstdCompressor(level=level)


_thread = threading.local()  # a Zstandard decompressor serves one thread at a time


def _zstd_reading() -> tuple[Any, Any, type[Exception], Any]:
    found: tuple[Any, Any, type[Exception], Any] | None = getattr(_thread, "zstd_reading", None)
    if found is None:
        import zstandard
        from google_crc32c import value as crc32c

        decompress = zstandard.ZstdDecompressor().decompress
        found = _thread.zstd_reading = (zstandard.frame_content_size, decompress, zstandard.ZstdError, crc32c)
    return found
