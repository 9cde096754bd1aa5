"""The frames of a stacked buffer one at a time, for formats that store each frame once."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlbuffers.reader import Buffer
from rlbuffers.schema import FRAMES, STACK_INDEX

__all__ = ["newest_frames", "next_frames"]

Array = np.ndarray[Any, Any]


def newest_frames(buffer: Buffer, rows: Array) -> Array:
    """Return the last frame of the stack that is observed at each row.

    Parameters
    ----------
    buffer : Buffer
        One with stacks of frames.
    rows : int64, shape (B,)
        Which rows.

    Returns
    -------
    uint8, shape (B, H, W)
    """
    return _frames(buffer, rows, buffer.spec.stack - 1)


def next_frames(buffer: Buffer, rows: Array) -> Array:
    """Return the frame that follows each row's action; zeros where the source did not hold it."""
    return _frames(buffer, rows, buffer.spec.stack)


def _frames(buffer: Buffer, rows: Array, position: int) -> Array:
    places = buffer.arrays[STACK_INDEX].take(rows)[:, position]
    return buffer.arrays[FRAMES].take(places)
