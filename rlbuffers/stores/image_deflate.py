"""Compressing images to zlib streams (RFC 1950) that inflate quickly.

A stack of frames mostly repeats: a stream of it is short, and inflating it takes no longer than setting up the
Huffman codes that every block of a general compressor brings along. The fixed code of RFC 1951 needs no
setting up. Streams as long as those of ISA-L's level 1 are written in half the time and inflate twice as
fast (docs/benchmarks.md). Any reader of zlib streams reads them.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from isal import isal_zlib

from rlbuffers.stores import image_deflate_kernel

__all__ = ["compress_images"]

_HEADER = b"\x78\x01"  # RFC 1950: deflate, a window of 32 KiB, the fastest algorithm
# Of data that shrink by less than this, most codes are those of single bytes, and the fixed ones are too long.
_MIN_RATIO = 6

Array = np.ndarray[Any, Any]


class _Memory(threading.local):
    """One thread's working memory."""

    def __init__(self) -> None:
        self._size = -1

    def of_size(self, size: int) -> tuple[Array, Array, Array]:
        """Return (room for a chunk, hash table, room for its block)."""
        if size > self._size:
            self._size = size
            self._arrays = (
                np.zeros(size + image_deflate_kernel.SLACK, np.uint8),
                np.empty(image_deflate_kernel.HASH_SIZE, np.int32),
                np.empty(size + size // 8 + 2 * image_deflate_kernel.SLACK, np.uint8),
            )
        return self._arrays


_memory = _Memory()


def compress_images(images: Array, image_bytes: int) -> bytes | None:
    """Return a zlib stream, or None where a general compressor is likely to make a shorter one.

    Parameters
    ----------
    images : C-ordered array of bytes, any shape
        Images, one after the other.
    image_bytes : int
        Size of an image.
    """
    size = images.nbytes
    chunk, table, out = _memory.of_size(size)
    chunk[:size] = images.reshape(-1).view(np.uint8)
    period = min(image_bytes, image_deflate_kernel.MAX_DISTANCE)
    block_bytes = image_deflate_kernel.deflate_images(chunk, size, period, table, out)
    if block_bytes * _MIN_RATIO > size:
        return None
    checksum = isal_zlib.adler32(chunk[:size].data)
    return b"".join([_HEADER, out[:block_bytes].data, checksum.to_bytes(4, "big")])
