"""The compiled part of ``image_deflate.py``: writing DEFLATE blocks with the fixed code (RFC 1951, section 3.2.6).

Matches are looked for where images have them: in the byte before, at the same place of the image before,
as far back as the last match, and where the same four bytes came last.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rlbuffers.compiled import jit, load_32, load_64, store_64, trailing_zeros

__all__ = ["HASH_SIZE", "MAX_DISTANCE", "SLACK", "deflate_images"]

MAX_DISTANCE = 32768
SLACK = 8  # bytes that are read or written beyond an end
HASH_SIZE = 4096
_HASH_SHIFT = np.uint64(32 - 12)
_HASH_FACTOR = np.uint64(2654435761)  # Knuth's multiplicative hashing
_MIN_RUN, _MIN_MATCH, _MAX_MATCH = 3, 4, 258
# Behind a match of this length no better one is looked for.
_LONG_ENOUGH = 32


def _reversed(code: int, bits: int) -> int:
    """Return a Huffman code as it is packed: its most significant bit first."""
    return int(format(code, f"0{bits}b")[::-1], 2)


def _fixed_code(symbol: int) -> tuple[int, int]:
    """Return (packed code, bits) of a literal or length symbol."""
    for first, last, code, bits in ((0, 143, 0x30, 8), (144, 255, 0x190, 9), (256, 279, 0, 7), (280, 287, 0xC0, 8)):
        if first <= symbol <= last:
            return _reversed(code + symbol - first, bits), bits
    raise ValueError(symbol)


def _ranges(extra_bits: list[int], first: int) -> list[int]:
    """Return the least value of each symbol whose extra bits count on from it."""
    return [first + sum(1 << bits for bits in extra_bits[:index]) for index in range(len(extra_bits))]


def _length_codes() -> tuple[Any, Any]:
    """Return (packed code with extra bits, bits) of each match length up to 258."""
    extra_bits = [*[0] * 8, *(bits for bits in range(1, 6) for _ in range(4))]
    starts = _ranges(extra_bits, _MIN_RUN)
    codes, sizes = np.zeros(_MAX_MATCH + 1, np.uint64), np.zeros(_MAX_MATCH + 1, np.uint64)
    for length in range(_MIN_RUN, _MAX_MATCH):
        index = max(index for index, start in enumerate(starts) if start <= length)
        code, bits = _fixed_code(257 + index)
        codes[length], sizes[length] = code | (length - starts[index]) << bits, bits + extra_bits[index]
    codes[_MAX_MATCH], sizes[_MAX_MATCH] = _fixed_code(285)
    return codes, sizes


def _literal_codes() -> tuple[Any, Any]:
    codes = [_fixed_code(value) for value in range(256)]
    return np.array([code for code, _ in codes], np.uint64), np.array([bits for _, bits in codes], np.uint64)


_LITERALS, _LITERAL_BITS = _literal_codes()
_LENGTHS, _LENGTH_BITS = _length_codes()
_DISTANCE_BITS = np.array([0, 0, *(bits for bits in range(14) for _ in range(2))], np.int64)
_DISTANCE_STARTS = np.array(_ranges(_DISTANCE_BITS.tolist(), 1), np.int64)
_DISTANCES = np.array([_reversed(symbol, 5) for symbol in range(30)], np.uint64)


@jit
def _matching(first, second, limit):
    """Return how many bytes at two addresses are equal, at most `limit`."""
    count = np.int64(0)
    while count < limit:
        difference = load_64(first + count) ^ load_64(second + count)
        if difference != 0:
            return min(count + np.int64(trailing_zeros(difference) >> np.uint64(3)), limit)
        count += 8
    return limit


@jit
def _distance_symbol(distance):
    bits = 0
    while (distance - 1) >> (bits + 2):
        bits += 1
    return distance - 1 if distance <= 2 else 2 * (bits + 1) + (((distance - 1) >> bits) & 1)


@jit
def deflate_images(chunk, size, image_bytes, table, out):
    """Compress a chunk into one final block with the fixed code.

    Parameters
    ----------
    chunk : uint8, shape (size + SLACK,)
        What is compressed, and bytes that do not count.
    size : int
        Number of bytes to compress.
    image_bytes : int
        After so many bytes the data are alike, at most `MAX_DISTANCE`.
    table : int32, shape (HASH_SIZE,)
        Working memory.
    out : uint8, shape (at least ``size + size // 8 + 2 * SLACK``,)
        Is filled: the longest code of a byte has 9 bits.

    Returns
    -------
    int
        Number of bytes of the block.
    """
    source, target = np.int64(chunk.ctypes.data), np.int64(out.ctypes.data)
    table[:] = -1
    held, bits = np.uint64(0b011), np.uint64(3)  # the last block; fixed code
    position, written, last = np.int64(0), np.int64(0), np.int64(1)
    while position < size:
        here, room = source + position, size - position
        length, distance = np.int64(0), np.int64(1)
        if position:
            length = _matching(here, here - 1, room)
            if length < _MIN_RUN:
                length = np.int64(0)
        if position >= image_bytes and length < room:
            found = _matching(here, here - image_bytes, room)
            if found >= _MIN_MATCH and found > length + 1:
                length, distance = found, image_bytes
        place = np.int64((np.uint64(load_32(here)) * _HASH_FACTOR >> _HASH_SHIFT) & np.uint64(HASH_SIZE - 1))
        candidate, table[place] = np.int64(table[place]), position
        if length < _LONG_ENOUGH:
            if position >= last > 1 and last != image_bytes:
                found = _matching(here, here - last, room)
                if found >= _MIN_MATCH and found > length + 1:
                    length, distance = found, last
            if candidate >= 0 and position - candidate <= MAX_DISTANCE:
                found = _matching(here, source + candidate, room)
                if found >= _MIN_MATCH and found > length + 1:
                    length, distance = found, position - candidate
        if length == 0:
            held |= _LITERALS[chunk[position]] << bits
            bits += _LITERAL_BITS[chunk[position]]
            position += 1
        else:
            position += length
            if distance > 1:
                last = distance
            symbol = _distance_symbol(distance)
            code = _DISTANCES[symbol] | np.uint64(distance - _DISTANCE_STARTS[symbol]) << np.uint64(5)
            code_bits = np.uint64(5 + _DISTANCE_BITS[symbol])
            while length:
                # In pieces none of which is shorter than the shortest match.
                part = min(length, _MAX_MATCH)
                if 0 < length - part < _MIN_RUN:
                    part = length - _MIN_RUN
                length -= part
                held |= _LENGTHS[part] << bits
                bits += _LENGTH_BITS[part]
                held |= code << bits
                bits += code_bits
                store_64(target + written, held)
                written += np.int64(bits >> np.uint64(3))
                held >>= bits & ~np.uint64(7)
                bits &= np.uint64(7)
        store_64(target + written, held)
        written += np.int64(bits >> np.uint64(3))
        held >>= bits & ~np.uint64(7)
        bits &= np.uint64(7)
    # The end of the block: seven zero bits, and zeros up to a whole byte.
    store_64(target + written, held)
    return written + np.int64((bits + np.uint64(7 + 7)) >> np.uint64(3))
