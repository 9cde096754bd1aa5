"""8-bit gray PNGs of one known size (PNG specification, ISO/IEC 15948), many at a time.

General image libraries spend most of their time on a small image around the decoding: 84×84 Atari
frames decode about three times as fast here (docs/benchmarks.md). Anything but an 8-bit, gray, not
interlaced image of the expected size is an error, never a guess.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

from rlbuffers.errors import CorruptDataError, FormatError

__all__ = ["PngError", "decode_gray_pngs", "equal_pngs"]

Array = np.ndarray[Any, Any]
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_IDAT = b"IDAT"
_CRC = struct.Struct(">I")
_BAD_CRC = "damaged: the CRC-32 of its image data does not fit"
_BAD_DATA = "damaged: its image data do not inflate to the pixels that its header announces"
# Inflated rows are undone while they are still in the processor's cache.
_IMAGES_IN_CACHE = 32


class PngError(Exception):
    """PNG number `index` is wrong; the caller knows which record that is."""

    def __init__(self, index: int, problem: str, kind: type[FormatError] = CorruptDataError) -> None:
        super().__init__(problem)
        self.index = index
        self.kind = kind


def equal_pngs(data: Array, first: Array, second: Array, lengths: Array) -> Array:
    """Tell which pairs of PNG files are the same bytes: bool, shape (B,).

    Parameters
    ----------
    data : uint8, shape (bytes,)
        What the offsets point into.
    first, second : int64, shape (B,)
        Offsets of the two files of each pair.
    lengths : int64, shape (B,)
        Their common length; pairs of different lengths are the caller's to tell apart.
    """
    from rlbuffers.decoding import png_kernel

    same = np.zeros(len(first), np.bool_)
    png_kernel.same_bytes(data, first, second, lengths, same)
    return same


def decode_gray_pngs(data: bytes, offsets: Array, lengths: Array, size: tuple[int, int]) -> Array:
    """Decode PNG files that lie in `data`.

    Parameters
    ----------
    data : bytes
        What the offsets point into.
    offsets, lengths : int64, shape (B,)
        Where each PNG file lies.
    size : (int, int)
        Height and width that every image must have, in pixels.

    Returns
    -------
    uint8, shape (B, height, width)

    Raises
    ------
    PngError
        If a file is no such PNG, fails a checksum, or holds more or fewer pixels.
    """
    from rlbuffers.decoding import png_kernel

    height, width = size
    begins, ends, status = (np.zeros(len(offsets), np.int64) for _ in range(3))
    png_kernel.find_image_data(np.frombuffer(data, np.uint8), offsets, lengths, height, width, begins, ends, status)
    if (status < 0).any():
        raise _problem(int((status < 0).argmax()), status, png_kernel, size)
    images = np.empty((len(offsets), height, width), np.uint8)
    lines = np.empty((min(_IMAGES_IN_CACHE, len(offsets)), height, 1 + width), np.uint8)
    for first in range(0, len(offsets), _IMAGES_IN_CACHE):
        block = slice(first, first + _IMAGES_IN_CACHE)
        split = status[block] == png_kernel.SPLIT
        for index in np.flatnonzero(split).tolist():
            place = offsets[first + index]
            lines[index] = _lines_of_split(data[place : place + lengths[first + index]], first + index, lines.shape[1:])
        _inflate(data, begins[block], ends[block], split, first, lines)
        wrong = png_kernel.unfilter(lines, images[block])
        if wrong >= 0:
            raise PngError(first + wrong, "a row has an unknown filter type")
    return images


def _inflate(data: bytes, begins: Array, ends: Array, split: Array, first: int, lines: Array) -> None:
    """Fill `lines` with the inflated rows of images whose data are in one piece."""
    import deflate

    view = memoryview(data)
    target = lines.reshape(-1).data
    line_bytes = lines[0].nbytes
    inflate, checksum, unpack = deflate.zlib_decompress, deflate.crc32, _CRC.unpack_from
    position = -line_bytes
    for begin, end, skip in zip(begins.tolist(), ends.tolist(), split.tolist(), strict=True):
        position += line_bytes
        if skip:
            continue
        # A chunk's checksum covers its four bytes of type as well.
        if checksum(view[begin - 4 : end]) != unpack(view, end)[0]:
            raise PngError(first + position // line_bytes, _BAD_CRC)
        try:
            target[position : position + line_bytes] = inflate(view[begin:end], line_bytes)
        except (deflate.DeflateError, ValueError) as error:
            raise PngError(first + position // line_bytes, _BAD_DATA) from error


def _lines_of_split(png: bytes, index: int, shape: tuple[int, ...]) -> Array:
    """Inflate a PNG that has several IDAT chunks; rare, so without haste."""
    position = len(_SIGNATURE)
    parts = []
    while position + 12 <= len(png):
        (length,) = _CRC.unpack_from(png, position)
        stop = position + 8 + length
        if png[position + 4 : position + 8] == _IDAT:
            if zlib.crc32(png[position + 4 : stop]) != _CRC.unpack_from(png, stop)[0]:
                raise PngError(index, _BAD_CRC)
            parts.append(png[position + 8 : stop])
        position = stop + 4
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(b"".join(parts), shape[0] * shape[1])
        # The last call also reads the checksum behind the data.
        inflated += inflater.decompress(inflater.unconsumed_tail, 1)
    except zlib.error as error:
        raise PngError(index, _BAD_DATA) from error
    if not inflater.eof or len(inflated) != shape[0] * shape[1]:
        raise PngError(index, _BAD_DATA)
    return np.frombuffer(inflated, np.uint8).reshape(shape)


def _problem(index: int, status: Array, kernel: Any, size: tuple[int, int]) -> PngError:
    if status[index] == kernel.BAD_SIGNATURE:
        return PngError(index, "not a PNG file", FormatError)
    if status[index] == kernel.BAD_HEADER:
        return PngError(index, f"not an 8-bit gray PNG of {size[0]}×{size[1]} pixels", FormatError)
    return PngError(index, "damaged: its chunks do not fit its length")
