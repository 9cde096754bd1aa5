"""Writing 8-bit PNG images (PNG specification, ISO/IEC 15948), many of one size at a time."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

__all__ = ["PNG_CHANNELS", "encode_pngs"]

Array = np.ndarray[Any, Any]
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}  # gray, RGB, RGBA
PNG_CHANNELS = tuple(_COLOUR_TYPES)
"""Numbers of channels that an image may have."""
_UP = 2
_LEVEL = 6


def encode_pngs(images: Array) -> list[bytes]:
    """Return one PNG file for each image; nothing is lost.

    Parameters
    ----------
    images : uint8, shape (B, height, width, channels)
        With 1, 3 or 4 channels.
    """
    import deflate

    count, height, width, channels = images.shape
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0))
    lines = np.empty((count, height, 1 + width * channels), np.uint8)
    lines[:, :, 0] = _UP
    rows = images.reshape(count, height, width * channels)
    lines[:, :1, 1:] = rows[:, :1]
    np.subtract(rows[:, 1:], rows[:, :-1], out=lines[:, 1:, 1:])
    before, after = _SIGNATURE + header, _chunk(b"IEND", b"")
    return [before + _chunk(b"IDAT", bytes(deflate.zlib_compress(image.tobytes(), _LEVEL))) + after for image in lines]


def _chunk(kind: bytes, data: bytes) -> bytes:
    import deflate

    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", deflate.crc32(kind + data))
