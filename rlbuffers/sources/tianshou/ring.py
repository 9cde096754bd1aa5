"""Rings of rows, as Tianshou's buffers are: where the oldest row is, and the order of time.

A ring of ``capacity`` rows is filled from its first row on. Once it is full, each new row overwrites the oldest one.
Pure arithmetic; nothing here reads a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlbuffers.errors import FormatError

__all__ = ["Ring", "single_ring", "vector_rings"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Ring:
    """The rows of one environment.

    Parameters
    ----------
    offset : int
        Its first row in the file.
    capacity : int
        Number of rows that it may use.
    length : int
        Number of rows that it holds.
    oldest : int
        Which of its rows is the oldest, counted from `offset`; not 0 only if it is full.
    overwritten : bool or None
        Whether older rows were overwritten, so that the first episode may lack its beginning. None if that cannot be
        told: a full ring whose first row is the oldest was filled once, or several times.
    """

    offset: int
    capacity: int
    length: int
    oldest: int = 0
    overwritten: bool | None = False

    def __len__(self) -> int:
        return self.length

    @property
    def end(self) -> int:
        """Number of rows that a file must have to hold it."""
        return self.offset + self.length

    def rows(self) -> Array:
        """Return which rows of the file belong to it, oldest first, int64, shape (length,)."""
        return self.offset + (self.oldest + np.arange(self.length)) % max(self.capacity, 1)

    def spans(self, size: int) -> Iterator[tuple[int, int]]:
        """Yield (start, stop) of consecutive rows of the file, oldest first, none across a multiple of `size`."""
        oldest = self.offset + self.oldest
        for start, stop in ((oldest, self.end), (self.offset, oldest)):
            while start < stop:
                border = min(start - start % size + size, stop)
                yield start, border
                start = border


def single_ring(
    where: str, *, capacity: int, size: int, insertion: int, last: int | None = None, begins: bool | None = None
) -> Ring:
    """Describe a buffer of one environment.

    Parameters
    ----------
    where : str
        What is read, for messages.
    capacity, size : int
        How many rows there may be, and are.
    insertion : int
        Where the next row would go.
    last : int, optional
        Where the newest row is.
    begins : bool, optional
        Whether the first row is known to begin an episode.

    Raises
    ------
    FormatError
        If the numbers contradict each other.
    """
    if not 0 <= size <= capacity or not 0 <= insertion <= capacity:
        raise FormatError(
            f"{where}: expected a size and a place for the next row within {capacity:,} rows; "
            f"found {size:,} and {insertion:,}"
        )
    if size < capacity or not size:
        return Ring(0, capacity, size)
    oldest = insertion % capacity
    if oldest:
        return Ring(0, capacity, size, oldest, overwritten=True)
    if begins is not None:
        return Ring(0, capacity, size, overwritten=not begins)
    # Data that were given as a whole (ReplayBuffer.from_data) leave all places at 0.
    given_whole = last == 0 and capacity > 1
    return Ring(0, capacity, size, overwritten=False if given_whole else None)


def vector_rings(where: str, *, edges: Sequence[int], lengths: Sequence[int], lasts: Sequence[int]) -> list[Ring]:
    """Describe a buffer of several environments, one ring each.

    Parameters
    ----------
    where : str
        What is read, for messages.
    edges : sequence of int
        First row of each ring, and the end of the last one.
    lengths : sequence of int
        Rows that each ring holds.
    lasts : sequence of int
        Where the newest row of each ring is, counted from the beginning of the file.

    Raises
    ------
    FormatError
        If the numbers contradict each other.
    """
    if not len(edges) - 1 == len(lengths) == len(lasts):
        raise FormatError(
            f"{where}: expected a length and a last row for each of {len(edges) - 1} sub-buffers, "
            f"found {len(lengths)} and {len(lasts)}"
        )
    rings = []
    for number, (start, stop, length, last) in enumerate(zip(edges[:-1], edges[1:], lengths, lasts, strict=True)):
        capacity = stop - start
        if start < 0 or not 0 <= length <= capacity or (length and not start <= last < stop):
            raise FormatError(
                f"{where}: sub-buffer {number}: expected its rows from {start:,} to {stop:,}, "
                f"found {length:,} of them, the newest at {last:,}"
            )
        if length < capacity or not length:
            rings.append(Ring(start, capacity, length))
        else:
            oldest = (last - start + 1) % capacity
            rings.append(Ring(start, capacity, length, oldest, overwritten=True if oldest else None))
    return rings
