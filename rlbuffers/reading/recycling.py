"""Large arrays whose memory is used again as soon as nobody holds them."""

from __future__ import annotations

import math
import sys
import threading
from typing import Any

import numpy as np

__all__ = ["RecycledArrays"]


def _references(buffers: list[np.ndarray[Any, Any]], index: int) -> int:
    return sys.getrefcount(buffers[index])


# What is counted for a buffer that only the list holds differs between versions of Python, so it is measured.
_FREE = _references([np.empty(0, np.uint8)], 0)


class RecycledArrays:
    """Hands out uninitialized arrays and reuses the memory of those that were dropped.

    A batch of Atari transitions is a megabyte. Fresh memory of that size costs a page fault every
    4 KiB, which can take longer than decoding the batch. An array handed out here is the caller's
    for as long as the caller, or any view of it, lives: what is reused is memory to which only this
    pool still refers.

    Parameters
    ----------
    max_buffers : int, default 8
        Dropped memory kept for reuse, in numbers of arrays.
    """

    def __init__(self, max_buffers: int = 8) -> None:
        self._buffers: list[np.ndarray[Any, Any]] = []
        self._max_buffers = max_buffers
        self._lock = threading.Lock()

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """Return an uninitialized C-ordered array."""
        size = dtype.itemsize * math.prod(shape)
        with self._lock:
            for index in range(len(self._buffers)):
                if _references(self._buffers, index) == _FREE and self._buffers[index].nbytes == size:
                    return self._buffers[index].view(dtype).reshape(shape)
            fresh = np.empty(size, np.uint8)
            # Of memory that was handed out and is still held, the oldest is forgotten here, not freed.
            self._buffers = [*self._buffers[-self._max_buffers + 1 :], fresh]
        return fresh.view(dtype).reshape(shape)
