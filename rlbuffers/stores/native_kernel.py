"""The compiled part of ``native.py``: reading and decompressing a batch of chunks with Python's lock released.

Importing this module imports numba; the machine code is cached on disk after its first use. The functions
that are called are C functions of libraries that are installed anyway, given by their addresses: as numbers,
not as constants, so that the cached machine code holds no address of a process that has ended.
"""

from __future__ import annotations

import numba
import numpy as np
from llvmlite import ir
from numba.core import types

from rlbuffers.compiled import call, intrinsic, jit

__all__ = ["NO_FILE", "ZLIB", "ZSTD", "decode_chunks"]

ZLIB, ZSTD = 0, 1
NO_FILE = -1  # in place of a file descriptor: the position is an address
_CRC_BYTES = 4


@jit
def _is_whole_zlib(functions, context, source, size, target, capacity):
    """Inflate one zlib stream; libdeflate compares its Adler-32 and writes at most `capacity` bytes."""
    # Without a place for the actual size, libdeflate takes only streams of exactly `capacity` bytes.
    result = call(functions[1], (context, source, size, target, capacity, np.int64(0)))
    return result & 0xFFFFFFFF == 0


@jit
def _is_whole_zstd(functions, context, source, size, target, capacity):
    """Decompress one Zstandard frame with its CRC-32C behind it, writing at most `capacity` bytes."""
    frame = size - _CRC_BYTES
    if frame <= 0:
        return False
    stored = numba.carray(_pointer(source + frame), _CRC_BYTES)
    expected = np.int64(stored[0]) | np.int64(stored[1]) << 8 | np.int64(stored[2]) << 16 | np.int64(stored[3]) << 24
    if call(functions[3], (source, frame)) & 0xFFFFFFFF != expected:
        return False
    if call(functions[2], (source, frame)) != capacity:  # what the frame announces
        return False
    return call(functions[1], (context, target, capacity, source, frame)) == capacity


@intrinsic
def _pointer(_context, address):
    signature = types.CPointer(types.uint8)(address)

    def generate(_target, builder, _signature, values):
        return builder.inttoptr(values[0], ir.IntType(8).as_pointer())

    return signature, generate


@jit
def decode_chunks(kind, functions, context, files, positions, sizes, scratch, target, chunk_bytes, item_bytes):
    """Read and decode chunks, one after the other, into `target`.

    Parameters
    ----------
    kind : int
        `ZLIB` or `ZSTD`.
    functions : int64, shape (4,)
        Addresses of ``pread``, the decompressor, and for Zstandard of ``ZSTD_getFrameContentSize`` and
        ``crc32c_value``.
    context : int
        Address of the decompressor's state; no other thread uses it.
    files, positions : int64, shape (B,)
        File descriptor and offset of each chunk; or `NO_FILE` and its address.
    sizes : int32 or int64, shape (B,)
        Stored bytes of each chunk.
    scratch : uint8, shape (at least ``sizes.max() + chunk_bytes``,)
        Working memory.
    target : uint8, shape (B * chunk_bytes,)
        Is filled.
    chunk_bytes, item_bytes : int
        Decoded bytes of a chunk; bytes of an item that were shuffled, 1 for none.

    Returns
    -------
    int
        -1, or the number of the first chunk that could not be read or is not whole.
    """
    room = len(scratch) - chunk_bytes  # behind the place of an inflated chunk that is still shuffled
    inflated = scratch[:chunk_bytes]
    for index in range(len(positions)):
        size = np.int64(sizes[index])
        source = positions[index]
        if files[index] != NO_FILE:
            source = np.int64(scratch[chunk_bytes:].ctypes.data)
            if size > room or call(functions[0], (files[index], source, size, positions[index])) != size:
                return index
        chunk = target[index * chunk_bytes : (index + 1) * chunk_bytes]
        place = np.int64(inflated.ctypes.data) if item_bytes > 1 else np.int64(chunk.ctypes.data)
        if kind == ZLIB:
            whole = _is_whole_zlib(functions, context, source, size, place, np.int64(chunk_bytes))
        else:
            whole = _is_whole_zstd(functions, context, source, size, place, np.int64(chunk_bytes))
        if not whole:
            return index
        if item_bytes > 1:
            items = chunk_bytes // item_bytes
            for byte in range(item_bytes):
                for item in range(items):
                    chunk[item * item_bytes + byte] = inflated[byte * items + item]
    return -1
