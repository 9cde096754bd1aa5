"""PNG and JPEG images of any kind, through Pillow. Atari frames go faster through ``gray_png.py``."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.optional import require

__all__ = ["decode_images"]

Array = np.ndarray[Any, Any]


def decode_images(files: Sequence[bytes], shape: tuple[int, ...], where: str, *, extra: str) -> Array:
    """Decode image files of one known shape.

    Parameters
    ----------
    files : sequence of bytes
        PNG or JPEG files.
    shape : tuple of int
        ``(height, width)`` or ``(height, width, channels)`` that every image must have.
    where : str
        Names the record in error messages.
    extra : str
        The extra of rlbuffers that brings Pillow to whoever asks.

    Returns
    -------
    uint8, shape (len(files), *shape)

    Raises
    ------
    MissingDependencyError
        If Pillow is not installed.
    CorruptDataError
        If a file is no whole image.
    FormatError
        If an image has another shape.
    """
    image_module = require("PIL.Image", extra=extra, purpose="Decoding images")
    images = np.empty((len(files), *shape), np.uint8)
    for number, file in enumerate(files):
        try:
            with image_module.open(io.BytesIO(file), formats=("PNG", "JPEG")) as opened:
                # Comparing sizes first keeps a small damaged file from filling the memory.
                found = (
                    opened.height,
                    opened.width,
                    *([] if len(opened.getbands()) == 1 else [len(opened.getbands())]),
                )
                if found in (shape, shape[:2] if shape[2:] == (1,) else shape):
                    images[number] = np.asarray(opened).reshape(shape)
                    continue
        except (OSError, SyntaxError, ValueError, image_module.DecompressionBombError) as error:
            raise CorruptDataError(f"{where}: image {number} is damaged: {error}") from error
        raise FormatError(f"{where}: image {number}: expected shape {shape}, found {found}")
    return images
