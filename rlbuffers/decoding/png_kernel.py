"""The compiled part of ``gray_png.py``: finding PNG image data and undoing the row filters.

Importing this module imports numba; the machine code is cached on disk after its first use.
"""

from __future__ import annotations

import numpy as np

from rlbuffers.compiled import jit

__all__ = ["BAD_CHUNKS", "BAD_HEADER", "BAD_SIGNATURE", "SPLIT", "find_image_data", "same_bytes", "unfilter"]

BAD_SIGNATURE, BAD_HEADER, BAD_CHUNKS, SPLIT = -1, -2, -3, 1

_SIGNATURE = np.array([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A], np.uint8)
_IHDR, _IDAT, _IEND = 0x49484452, 0x49444154, 0x49454E44


@jit
def _big32(data, position):
    return (
        np.int64(data[position]) << 24
        | np.int64(data[position + 1]) << 16
        | np.int64(data[position + 2]) << 8
        | np.int64(data[position + 3])
    )


@jit
def _find_one(data, start, stop, height, width):
    """Return (status, start, stop of the one IDAT chunk's data) of one PNG."""
    if stop - start < 57:  # signature, IHDR, an empty IDAT and IEND
        return BAD_SIGNATURE, 0, 0
    for index in range(8):
        if data[start + index] != _SIGNATURE[index]:
            return BAD_SIGNATURE, 0, 0
    position = start + 8
    if _big32(data, position) != 13 or _big32(data, position + 4) != _IHDR:
        return BAD_HEADER, 0, 0
    header = position + 8
    if _big32(data, header) != width or _big32(data, header + 4) != height:
        return BAD_HEADER, 0, 0
    # Bit depth 8; gray; zlib; the standard filters; not interlaced.
    if data[header + 8] != 8 or data[header + 9] or data[header + 10] or data[header + 11] or data[header + 12]:
        return BAD_HEADER, 0, 0
    position = header + 17
    found, begin, end = 0, 0, 0
    while position + 12 <= stop:
        length, kind = _big32(data, position), _big32(data, position + 4)
        if length > stop - position - 12:
            return BAD_CHUNKS, 0, 0
        if kind == _IDAT:
            found += 1
            begin, end = position + 8, position + 8 + length
        if kind == _IEND:
            if found == 0 or position + 12 + length != stop:
                return BAD_CHUNKS, 0, 0
            return (0 if found == 1 else SPLIT), begin, end
        position += 12 + length
    return BAD_CHUNKS, 0, 0


@jit
def find_image_data(data, offsets, lengths, height, width, begins, ends, status):
    """Fill `begins`, `ends` and `status` with where each PNG's compressed image data lie."""
    for index in range(len(offsets)):
        stop = offsets[index] + lengths[index]
        status[index], begins[index], ends[index] = _find_one(data, offsets[index], stop, height, width)


@jit
def same_bytes(data, first, second, lengths, same):
    """Fill `same`: whether the `lengths[i]` bytes at `first[i]` equal those at `second[i]`."""
    for index in range(len(first)):
        same[index] = True
        for offset in range(lengths[index]):
            if data[first[index] + offset] != data[second[index] + offset]:
                same[index] = False
                break


@jit
def unfilter(lines, images):
    """Undo the row filters of 8-bit gray PNGs (PNG specification, section 9).

    Parameters
    ----------
    lines : uint8, shape (B, height, 1 + width)
        Inflated image data: a filter type and the filtered bytes, for each row.
    images : uint8, shape (B, height, width)
        Is filled.

    Returns
    -------
    int
        -1, or the number of the first image with an unknown filter type.
    """
    count, height, width = images.shape
    for image in range(count):
        for row in range(height):
            kind = lines[image, row, 0]
            if kind == 0 or (kind == 2 and row == 0):
                for column in range(width):
                    images[image, row, column] = lines[image, row, column + 1]
            elif kind == 1:
                left = np.uint8(0)
                for column in range(width):
                    left = np.uint8(lines[image, row, column + 1] + left)
                    images[image, row, column] = left
            elif kind == 2:
                for column in range(width):
                    images[image, row, column] = np.uint8(
                        lines[image, row, column + 1] + images[image, row - 1, column]
                    )
            elif kind == 3:
                left = np.uint8(0)
                for column in range(width):
                    above = np.int32(images[image, row - 1, column]) if row else np.int32(0)
                    mean = np.uint8((np.int32(left) + above) >> 1)
                    left = np.uint8(lines[image, row, column + 1] + mean)
                    images[image, row, column] = left
            elif kind == 4:
                _unfilter_paeth(lines, images, image, row, width)
            else:
                return image
    return -1


@jit
def _unfilter_paeth(lines, images, image, row, width):
    left, corner = np.int32(0), np.int32(0)
    for column in range(width):
        above = np.int32(images[image, row - 1, column]) if row else np.int32(0)
        # The two cases of flat areas, which are most of a game's screen, first: they predict well.
        if above == corner:
            predicted = left
        elif left == corner:
            predicted = above
        else:
            from_left, from_above = abs(above - corner), abs(left - corner)
            from_corner = abs(left + above - 2 * corner)
            if from_left <= from_above and from_left <= from_corner:
                predicted = left
            elif from_above <= from_corner:
                predicted = above
            else:
                predicted = corner
        corner = above
        left = np.int32((np.int32(lines[image, row, column + 1]) + predicted) & 255)
        images[image, row, column] = np.uint8(left)
