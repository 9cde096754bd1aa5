"""Which arrays of a buffer are kept in memory, and in which form: decided when the buffer is opened.

The smallest arrays come first, because a column that is not in memory costs the decoding of a whole chunk a
row, whatever its size. An array that fits the budget is kept decoded; one that fits only as it is stored is
kept so, which spares the disk or the network but not the decoding; others are read from the file each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from rlbuffers.schema import STACK_INDEX
from rlbuffers.stores.base import StoredArray

__all__ = ["ArrayPlan", "Place", "plan_cache"]

Place = Literal["decoded", "compressed", "file"]


@dataclass(frozen=True)
class ArrayPlan:
    """Where the rows of one array come from once the buffer is in use.

    Parameters
    ----------
    place : {"decoded", "compressed", "file"}
        ``decoded`` and ``compressed`` are forms in memory.
    resident_bytes : int
        What it takes of memory.
    """

    place: Place
    resident_bytes: int


def plan_cache(arrays: Iterable[StoredArray], stored_bytes: Callable[[str], int], budget: int) -> dict[str, ArrayPlan]:
    """Share a budget of memory among arrays.

    Parameters
    ----------
    arrays : iterable of StoredArray
        All arrays of a buffer.
    stored_bytes : callable
        Returns what an array's files take; asked only of arrays that do not fit decoded.
    budget : int
        Bytes.
    """
    plan: dict[str, ArrayPlan] = {}
    left = budget
    for array in sorted(arrays, key=lambda array: (array.nbytes, array.name)):
        place: Place = "file"
        size = 0
        if array.name == STACK_INDEX:  # known without reading it
            place = "file"
        elif array.nbytes <= left:
            place, size = "decoded", array.nbytes
        elif left and stored_bytes(array.name) <= left:
            place, size = "compressed", stored_bytes(array.name)
        left -= size
        plan[array.name] = ArrayPlan(place, size)
    return plan
