"""Raw Snappy decompression: the block format, without the framing of ``.sz`` files.

The format is described in ``format_description.txt`` of google/snappy: the size of the decompressed bytes as a varint,
then elements, each a literal or a copy of what stands some bytes back. The two low bits of an element's first byte
tell which. Importing this module imports numba; the machine code is cached on disk after its first use.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from rlbuffers.errors import CorruptDataError

__all__ = ["decompress", "decompressed_size"]

Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]
_MAX_PREAMBLE_BYTES = 5
# A copy of 64 bytes takes 3 bytes, and nothing is denser; a size beyond this is not true.
_MAX_RATIO = 22
_LITERAL, _COPY_1, _COPY_2 = 0, 1, 2
_WRONG = -1


def decompressed_size(data: bytes | memoryview, where: str) -> int:
    """Return the size in bytes that compressed data say they become; nothing is allocated.

    Raises
    ------
    CorruptDataError
        If there is no size, or more than so few bytes can become.
    """
    return _preamble(data, where)[0]


def decompress(data: bytes | memoryview, where: str) -> Bytes:
    """Decompress one block.

    Parameters
    ----------
    data : bytes or memoryview
        The block, whole.
    where : str
        Names the block in error messages.

    Returns
    -------
    uint8, shape (N,)

    Raises
    ------
    CorruptDataError
        If the block says that it becomes more than it can, or is cut short or damaged. Snappy has no
        checksum: other damage goes unnoticed.
    """
    size, start = _preamble(data, where)
    found = np.empty(size, np.uint8)
    if _fill(np.frombuffer(data, np.uint8), start, found) != size:
        raise CorruptDataError(f"{where}: its Snappy data are damaged or cut short; expected {size:,} bytes of them")
    return found


def _preamble(data: bytes | memoryview, where: str) -> tuple[int, int]:
    """Return the size that is stated, and where the elements begin."""
    size = 0
    for place, byte in enumerate(data[:_MAX_PREAMBLE_BYTES]):
        size |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            if size > _MAX_RATIO * len(data):
                raise CorruptDataError(f"{where}: {len(data):,} bytes of Snappy data cannot become {size:,}")
            return size, place + 1
    raise CorruptDataError(f"{where}: not Snappy data; they do not begin with a size")


def _python_fill(data: Any, position: int, found: Any) -> int:
    """Decompress elements into `found`; return how many bytes were written, or -1 if they do not fit.

    Compiled. Every position is compared with the end of its array before it is used.
    """
    stop, size, written = len(data), len(found), 0
    while position < stop:
        tag: Any = np.int64(data[position])
        position += 1
        kind = tag & 3
        if kind == _LITERAL:
            length: Any = tag >> 2
            if length >= 60:
                num_bytes = length - 59
                if num_bytes > stop - position:
                    return _WRONG
                length = np.int64(0)
                for place in range(num_bytes):
                    length |= np.int64(data[position + place]) << (8 * place)
                position += num_bytes
            length += 1
            if length > stop - position or length > size - written:
                return _WRONG
            for index in range(length):
                found[written + index] = data[position + index]
            position += length
            written += length
            continue
        offset: Any
        if kind == _COPY_1:
            length, offset, num_bytes = 4 + ((tag >> 2) & 7), (tag >> 5) << 8, 1
        else:
            length, offset, num_bytes = 1 + (tag >> 2), np.int64(0), 2 if kind == _COPY_2 else 4
        if num_bytes > stop - position:
            return _WRONG
        for place in range(num_bytes):
            offset |= np.int64(data[position + place]) << (8 * place)
        position += num_bytes
        if offset < 1 or offset > written or length > size - written:
            return _WRONG
        for index in range(length):  # byte by byte: a copy may reach into what it has just written
            found[written + index] = found[written + index - offset]
        written += length
    return written


_fill: Any = numba.njit(cache=True, nogil=True)(_python_fill)
