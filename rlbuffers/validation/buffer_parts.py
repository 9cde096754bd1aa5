"""Parts of a buffer that several rules look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from rlbuffers.fingerprint import BLOCK_ROWS
from rlbuffers.reader import Buffer
from rlbuffers.schema import EPISODE_LENGTHS, EPISODE_STARTS

__all__ = ["MAX_BLOCK_BYTES", "Array", "blocks_of", "bytes_of_rows", "episode_ends"]

Array = np.ndarray[Any, Any]
MAX_BLOCK_BYTES = 32 << 20  # what a rule decodes at once


def blocks_of(buffer: Buffer, name: str) -> Iterator[Array]:
    """Yield the rows of an array in whole fingerprint blocks of bounded size."""
    rows = buffer.arrays[name]
    row_bytes = max(rows.array.nbytes // max(len(rows), 1), 1)
    count = max(MAX_BLOCK_BYTES // row_bytes // BLOCK_ROWS, 1) * BLOCK_ROWS
    return rows.blocks(count)


def episode_ends(buffer: Buffer) -> Array:
    """Return the last row of each episode."""
    ends: Array = buffer.arrays[EPISODE_STARTS].all() + buffer.arrays[EPISODE_LENGTHS].all() - 1
    return ends


def bytes_of_rows(rows: Array) -> Array:
    """Return the bytes of each row, uint8, shape (N, bytes)."""
    return np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8)
