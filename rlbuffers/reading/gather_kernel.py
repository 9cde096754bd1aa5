"""The compiled part of ``gathering.py``: copying rows of several arrays in one call, without Python's lock."""

from __future__ import annotations

import numpy as np

from rlbuffers.compiled import copy_bytes, jit

__all__ = ["FOLLOWING", "SAME", "gather"]

SAME, FOLLOWING = 0, 1  # the row itself; the one that follows it, or its episode's final one


@jit
def _copy(target, source, size):
    # Of a known size, this is one move instead of a call.
    if size == 4:
        copy_bytes(target, source, np.int64(4))
    elif size == 8:
        copy_bytes(target, source, np.int64(8))
    elif size == 1:
        copy_bytes(target, source, np.int64(1))
    else:
        copy_bytes(target, source, size)


@jit
def gather(rows, num_rows, columns, episodes, is_table, lasts, target):
    """Copy rows of columns, one column after the other.

    Parameters
    ----------
    rows : int64, shape (B,)
    num_rows : int
        How many there are in each column.
    columns : int64, shape (C, 5)
        `SAME` or `FOLLOWING`; address of the column's rows; bytes of a row; address of the final rows of its
        episodes, if `FOLLOWING`; offset of the copy in `target`.
    episodes : int32 or int64
        Number of the episode of each row of the buffer if `is_table`, else of each of `rows`.
    is_table : bool
        See `episodes`.
    lasts : int64, shape (E,)
        Last row of each episode.
    target : uint8
        Is filled.

    Returns
    -------
    int
        -1, or the index of the first of `rows` that does not exist; then nothing is copied.
    """
    for index in range(len(rows)):
        if rows[index] < 0 or rows[index] >= num_rows:
            return index
    start = np.int64(target.ctypes.data)
    for column in range(len(columns)):
        kind, source, size, finals, offset = columns[column]
        place = start + offset
        if kind == SAME:
            for index in range(len(rows)):
                _copy(place + index * size, source + rows[index] * size, size)
        else:
            for index in range(len(rows)):
                row = rows[index]
                episode = np.int64(episodes[row] if is_table else episodes[index])
                following = finals + episode * size if row == lasts[episode] else source + (row + 1) * size
                _copy(place + index * size, following, size)
    return -1
