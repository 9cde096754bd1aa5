"""Images of one episode in a Minari dataset's HDF5 file, filled from the first row to the last."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from rlbuffers.decoding.png_writer import encode_pngs

__all__ = ["ImageArray"]

Array = np.ndarray[Any, Any]


class ImageArray:
    """One PNG file a row; Minari opens it as it opens its own JPEG files.

    Parameters
    ----------
    group, name, count
        As of `NumberArray`.
    """

    def __init__(self, group: h5py.Group, name: str, count: int) -> None:
        self._dataset = group.create_dataset(name, (count,), h5py.vlen_dtype(np.uint8))
        self._written = 0

    def append(self, rows: Array) -> None:
        """Write rows as files; shape (B, height, width) or (B, height, width, channels)."""
        for file in encode_pngs(rows if rows.ndim == 4 else rows[..., None]):
            self._dataset[self._written] = np.frombuffer(file, np.uint8)
            self._written += 1
