"""Rows of columns that are in memory, all columns in one compiled call.

A batch of vectors is small: copying it takes a few microseconds, and asking NumPy for one column after the
other takes several times as long.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlbuffers.errors import OutOfRangeError
from rlbuffers.reading.recycling import RecycledArrays
from rlbuffers.stores.native import DECODER_VARIABLE

__all__ = ["Gather", "GatheredColumn", "compiled_gather"]

# In NumPy these take some 20 ms; loading the compiled loop takes half a second.
_CALLS_BEFORE_LOADING = 500
_ALIGNMENT = 64  # bytes: a cache line
# Fresh memory of this size costs more than asking for memory that was used before.
_MIN_RECYCLED_BYTES = 1 << 16

Array = np.ndarray[Any, Any]
Indices = np.ndarray[Any, np.dtype[np.int64]]
_num_calls = 0


def compiled_gather() -> Callable[..., int] | None:
    """Return the compiled loop once so many batches were asked for that loading it pays, else None."""
    global _num_calls
    wanted = os.environ.get(DECODER_VARIABLE, "auto")
    if wanted == "python":
        return None
    if _num_calls < _CALLS_BEFORE_LOADING and wanted != "native":
        _num_calls += 1
        return None
    from rlbuffers.reading.gather_kernel import gather

    loop: Callable[..., int] = gather
    return loop


@dataclass(frozen=True)
class GatheredColumn:
    """A column in memory.

    Parameters
    ----------
    name : str
        Name in the batch.
    rows : array, shape (N, *row)
        All rows, C-ordered.
    finals : array, shape (E, *row), optional
        Of a next observation: the last one of each episode. Row i is then ``rows[i + 1]``, or the final one where
        i is the last row of its episode.
    """

    name: str
    rows: Array
    finals: Array | None = None


@dataclass(frozen=True)
class _Layout:
    """Where the columns of batches of one size are in one block of memory."""

    table: Indices
    num_bytes: int
    places: Sequence[tuple[str, tuple[int, ...], np.dtype[Any], int]]


class Gather:
    """Copies rows of several columns. Threads may do so at once.

    Parameters
    ----------
    loop : callable
        `compiled_gather`'s.
    columns : sequence of GatheredColumn
        What a batch has; their arrays are kept alive.
    lasts : int64, shape (E,)
        Last row of each episode; not used without a next observation.
    """

    def __init__(self, loop: Callable[..., int], columns: Sequence[GatheredColumn], lasts: Indices) -> None:
        self.follows = any(column.finals is not None for column in columns)
        self._loop = loop
        self._columns = columns
        self._lasts = lasts
        self._num_rows = len(columns[0].rows) if columns else 0
        self._layout: tuple[int, _Layout] = (0, self._laid_out(0))
        self._memory = RecycledArrays()

    def __bool__(self) -> bool:
        return bool(self._columns)

    def take(self, rows: Indices, episodes: Array, *, is_table: bool) -> dict[str, Array]:
        """Return the columns at rows; new arrays, which share a block of memory.

        Parameters
        ----------
        rows : int64, C-ordered, shape (B,)
        episodes : int32 or int64
            Number of the episode of each of the buffer's rows, or of each of `rows`.
        is_table : bool
            Which of the two.

        Raises
        ------
        OutOfRangeError
            If a row does not exist.
        """
        count, layout = self._layout
        if count != len(rows):
            layout = self._laid_out(len(rows))
            self._layout = len(rows), layout
        large = layout.num_bytes >= _MIN_RECYCLED_BYTES
        shape, dtype = (layout.num_bytes,), np.dtype(np.uint8)
        block = self._memory.empty(shape, dtype) if large else np.empty(shape, dtype)
        wrong = self._loop(rows, self._num_rows, layout.table, episodes, is_table, self._lasts, block)
        if wrong >= 0:
            raise OutOfRangeError(f"there is no row {int(rows[wrong])}; there are {self._num_rows:,}")
        return {name: np.ndarray(shape, dtype, block, offset) for name, shape, dtype, offset in layout.places}

    def _laid_out(self, count: int) -> _Layout:
        table, places, size = [], [], 0
        for column in self._columns:
            shape, dtype = (count, *column.rows.shape[1:]), column.rows.dtype
            row_bytes = dtype.itemsize * math.prod(shape[1:])
            finals = 0 if column.finals is None else _address(column.finals)
            table.append([column.finals is not None, _address(column.rows), row_bytes, finals, size])
            places.append((column.name, shape, dtype, size))
            size += -(-count * row_bytes // _ALIGNMENT) * _ALIGNMENT
        return _Layout(np.array(table, np.int64).reshape(-1, 5), size, places)


def _address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])
