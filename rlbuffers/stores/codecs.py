"""How one chunk becomes bytes and how the bytes become the chunk again.

A codec is a small picklable value, so that chunks can be encoded in other processes. Every codec's
bytes carry a checksum that `decode` verifies: Adler-32 inside a zlib stream (RFC 1950), CRC-32C
behind a Zstandard frame (RFC 8878).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

__all__ = ["Codec", "CodecError", "RawCodec", "ZlibCodec", "ZstdCodec"]

_CRC_BYTES = 4


class CodecError(ValueError):
    """The bytes of a chunk do not decode to what was encoded; callers add the place."""


class Codec(Protocol):
    """Turns the bytes of one chunk into their stored form and back."""

    def encode(self, chunk: np.ndarray[Any, Any]) -> bytes:
        """Return the stored form of a C-ordered chunk."""

    def decode(self, stored: memoryview, size: int) -> bytes | memoryview:
        """Return the `size` bytes of a chunk.

        Raises
        ------
        CodecError
            If the stored bytes fail their checksum or hold another number of bytes.
        """


@dataclass(frozen=True)
class RawCodec:
    """No compression: the memory store's form."""

    def encode(self, chunk: np.ndarray[Any, Any]) -> bytes:
        """Return the chunk's bytes."""
        return chunk.tobytes()

    def decode(self, stored: memoryview, size: int) -> memoryview:
        """Return the stored bytes themselves."""
        if len(stored) != size:
            raise CodecError(f"holds {len(stored)} bytes, expected {size}")
        return stored


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
    """

    shuffle_bytes: int = 1
    level: int = 1

    def encode(self, chunk: np.ndarray[Any, Any]) -> bytes:
        """Return a zlib stream."""
        from isal import isal_zlib

        data: bytes = chunk.tobytes()
        if self.shuffle_bytes > 1:
            data = np.frombuffer(data, np.uint8).reshape(-1, self.shuffle_bytes).T.tobytes()
        compressed: bytes = isal_zlib.compress(data, self.level)
        return compressed

    def decode(self, stored: memoryview, size: int) -> bytes | memoryview:
        """Inflate and compare the Adler-32 checksum."""
        inflate, inflate_error = _libdeflate()
        try:
            data: bytes = inflate(stored, size)
        except (inflate_error, ValueError) as error:
            raise CodecError("its zlib stream is damaged") from error
        if len(data) != size:
            raise CodecError(f"holds {len(data)} bytes, expected {size}")
        if self.shuffle_bytes > 1:
            return np.frombuffer(data, np.uint8).reshape(self.shuffle_bytes, -1).T.tobytes()
        return data


@dataclass(frozen=True)
class ZstdCodec:
    """Zarr v3's ``zstd`` codec followed by its ``crc32c`` codec.

    Parameters
    ----------
    level : int, default 1
        Zstandard's compression level.
    """

    level: int = 1

    def encode(self, chunk: np.ndarray[Any, Any]) -> bytes:
        """Return a Zstandard frame and the little-endian CRC-32C of it."""
        from google_crc32c import value as crc32c

        frame: bytes = _zstd_compressor(self.level).compress(chunk.data.cast("B"))
        checksum: int = crc32c(frame)
        return frame + checksum.to_bytes(_CRC_BYTES, "little")

    def decode(self, stored: memoryview, size: int) -> bytes:
        """Compare the CRC-32C checksum and decompress."""
        content_size, decompress, zstd_error, crc32c = _zstd_reading()
        frame = bytes(stored[:-_CRC_BYTES])
        if crc32c(frame) != int.from_bytes(stored[-_CRC_BYTES:], "little"):
            raise CodecError("its CRC-32C does not fit")
        try:
            announced = content_size(frame)
            if announced != size:  # checked first: the decompressor allocates what the frame announces
                raise CodecError(f"announces {announced} bytes, expected {size}")
            data: bytes = decompress(frame)
        except zstd_error as error:
            raise CodecError("its Zstandard frame is damaged") from error
        return data


@functools.cache
def _libdeflate() -> tuple[Any, type[Exception]]:
    import deflate

    return deflate.zlib_decompress, deflate.DeflateError


@functools.cache
def _zstd_compressor(level: int) -> Any:
    import zstandard

    return zstandard.ZstdCompressor(level=level)


@functools.cache
def _zstd_reading() -> tuple[Any, Any, type[Exception], Any]:
    import zstandard
    from google_crc32c import value as crc32c

    return (
        zstandard.frame_content_size,
        zstandard.ZstdDecompressor().decompress,
        zstandard.ZstdError,
        crc32c,
    )
