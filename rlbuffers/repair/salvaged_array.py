"""One array of a damaged buffer: which of its rows can be read, and reading them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlbuffers.fingerprint import BLOCK_ROWS, ArrayDigest, block_digests
from rlbuffers.stores.base import StoredArray
from rlbuffers.stores.codecs import CodecError

__all__ = ["ChunkPieces", "SalvagedArray", "Tail", "missing_array"]

Array = np.ndarray[Any, Any]
Indices = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

_CHECKED_BYTES = 8 << 20  # decoded at a time


@dataclass(frozen=True)
class ChunkPieces:
    """Where the chunks of an array may be: entry i belongs to chunk i. Nothing is believed of it before it decodes.

    Parameters
    ----------
    files : sequence of memoryview
        Bytes of the files.
    file_of, offsets, sizes : int64, shape (chunks,)
        Place of each chunk; a size of 0 where it is not known.
    """

    files: Sequence[memoryview]
    file_of: Indices
    offsets: Indices
    sizes: Indices

    @classmethod
    def none(cls, num_chunks: int) -> ChunkPieces:
        """Say of no chunk where it is."""
        zeros = np.zeros(num_chunks, np.int64)
        return cls([], zeros, zeros, zeros)

    def inside(self) -> Mask:
        """Tell which chunks are said to lie inside their files."""
        if not self.files:
            return np.zeros(len(self.sizes), bool)
        limits = np.array([len(file) for file in self.files], np.int64)[self.file_of]
        mask: Mask = (self.sizes > 0) & (self.offsets >= 0) & (self.offsets <= limits - self.sizes)
        return mask

    def stored(self, chunks: Indices) -> list[memoryview]:
        """Return the bytes of chunks that are inside their files."""
        places = zip(
            self.file_of[chunks].tolist(), self.offsets[chunks].tolist(), self.sizes[chunks].tolist(), strict=True
        )
        return [self.files[number][offset : offset + size] for number, offset, size in places]


@dataclass(frozen=True)
class Tail:
    """Rows that are known from elsewhere than the chunks: those that a killed writer had not yet encoded."""

    first_row: int
    rows: Array

    @property
    def end(self) -> int:
        """The row behind the last one."""
        return self.first_row + len(self.rows)


class SalvagedArray:
    """Rows of an array of which some cannot be read.

    Parameters
    ----------
    array : StoredArray
        What it should be.
    pieces : ChunkPieces
        Where its chunks may be.
    problem : str
        Why places are missing; empty if none is.
    tail : Tail, optional
        Rows beyond the chunks.
    """

    def __init__(self, array: StoredArray, pieces: ChunkPieces, problem: str = "", tail: Tail | None = None) -> None:
        self.array = array
        self.problem = problem
        self._pieces = pieces
        self._tail = tail if tail is not None else Tail(array.shape[0], self._zeros(0))
        self._bad: Mask = np.ones(array.num_chunks, bool)
        self._bad_before: Indices = np.arange(array.num_chunks + 1)
        self._last_decoded: tuple[int, Array] = (-1, self._zeros(0))

    @property
    def name(self) -> str:
        """Name of the array."""
        return self.array.name

    @property
    def num_bad_chunks(self) -> int:
        """Number of chunks that cannot be read and whose rows are not in the tail; known after `check`."""
        return int(self._needed(self._bad).sum())

    def _needed(self, bad: Mask) -> Mask:
        starts = np.arange(len(bad)) * self.array.chunk_rows
        stops = np.minimum(starts + self.array.chunk_rows, self.array.shape[0])
        needed: Mask = bad & ~((starts >= self._tail.first_row) & (stops <= self._tail.end))
        return needed

    @property
    def num_announced(self) -> int:
        """Number of chunks whose places are known, or 0 if already the first of them does not decode."""
        known = np.flatnonzero(self._pieces.inside())
        if not len(known) or len(self._decode(known[:1], np.zeros(self.array.num_chunks, bool))[1]):
            return 0
        return len(known)

    def check(self, expected_digest: str | None, on_bytes: Callable[[int], None]) -> None:
        """Decode every chunk once.

        Parameters
        ----------
        expected_digest : str or None
            Digest of all rows as the metadata state it. If no chunk is bad and it differs all the same, nothing can
            tell the right chunks from the wrong ones, and all count as bad.
        on_bytes : callable
            Is given the number of decoded bytes, as they come.
        """
        bad = ~self._pieces.inside()
        if self._needed(bad).any() and not self.problem:
            self.problem = "its place is not known"
        digest = None if bad.any() else ArrayDigest()
        for chunks in self._groups():
            rows, wrong = self._decode(chunks, bad)
            bad[wrong] = True
            on_bytes(len(chunks) * self.array.chunk_bytes)
            if len(wrong):
                digest = None
            elif digest is not None:
                digest.update(block_digests(rows[: self.array.shape[0] - int(chunks[0]) * self.array.chunk_rows]))
        if digest is not None and expected_digest is not None and digest.hexdigest() != expected_digest:
            bad[:] = True
            self.problem = "every chunk passes its checksum, but the content is not what was written"
        self._bad = bad
        self._bad_before = np.concatenate([[0], np.cumsum(bad)])

    def _groups(self) -> Iterator[Indices]:
        """Yield chunks in groups that fill the blocks of the digest."""
        unit = math.lcm(self.array.chunk_rows, BLOCK_ROWS) // self.array.chunk_rows
        size = max(_CHECKED_BYTES // max(self.array.chunk_bytes, 1) // unit, 1) * unit
        for start in range(0, self.array.num_chunks, size):
            yield np.arange(start, min(start + size, self.array.num_chunks))

    def _decode(self, chunks: Indices, bad: Mask) -> tuple[Array, Indices]:
        """Decode chunks; of bad ones zeros. Return the rows, and which chunks turned out to be bad."""
        rows = self._zeros(len(chunks) * self.array.chunk_rows)
        target = rows.reshape(-1).view(np.uint8).data
        size = self.array.chunk_bytes
        wrong: list[int] = []
        start = 0
        known = ~bad[chunks]
        while start < len(chunks):
            # A run of chunks whose places are known, cut anew behind each that fails.
            if not known[start]:
                start += 1
                continue
            stop = start + int(np.argmin(np.append(known[start:], False)))
            try:
                stored = self._pieces.stored(chunks[start:stop])
                self.array.codec.decode(stored, size, target[start * size : stop * size])
                start = stop
            except CodecError as error:
                failed = start + error.index
                target[failed * size : (failed + 1) * size] = bytes(size)
                wrong.append(int(chunks[failed]))
                self.problem = self.problem or str(error)
                known[failed] = False  # and once more from the start of the run, up to here
        return rows, np.array(wrong, np.int64)

    def holds(self, starts: Indices, stops: Indices) -> Mask:
        """Tell for each range of rows whether all of it can be read; true of an empty one."""
        before = self._chunks_hold(starts, np.minimum(stops, self._tail.first_row))
        behind = self._chunks_hold(np.maximum(starts, self._tail.end), stops)
        mask: Mask = before & behind
        return mask

    def _chunks_hold(self, starts: Indices, stops: Indices) -> Mask:
        size = self.array.chunk_rows
        first, last = starts // size, np.maximum(stops - 1, starts) // size
        beyond = last >= self.array.num_chunks
        last = np.minimum(last, self.array.num_chunks - 1)
        counted = self._bad_before[np.maximum(last + 1, 0)] - self._bad_before[np.minimum(first, last + 1)]
        mask: Mask = ((counted == 0) & ~beyond) | (stops <= starts)
        return mask

    def good_rows(self, count: int) -> Mask:
        """Tell for each of the first `count` rows whether it can be read."""
        rows = np.arange(count)
        return self.holds(rows, rows + 1)

    def rows(self, start: int, stop: int) -> Array:
        """Return rows `start` to `stop`, exclusive; zeros for those that cannot be read."""
        out = self._zeros(max(stop - start, 0))
        size = self.array.chunk_rows
        end = min(stop, self.array.num_chunks * size)
        if start < end:
            first, last = start // size, (end - 1) // size
            out[: end - start] = self._chunks(first, last)[start - first * size : end - first * size]
        low, high = max(start, self._tail.first_row), min(stop, self._tail.end)
        if low < high:
            out[low - start : high - start] = self._tail.rows[low - self._tail.first_row : high - self._tail.first_row]
        return out

    def _chunks(self, first: int, last: int) -> Array:
        """Return the rows of chunks; the last one is kept, as the next request mostly begins in it."""
        kept, kept_rows = self._last_decoded
        begin = first + 1 if kept == first else first
        parts = [kept_rows] if kept == first else []
        if begin <= last:
            parts.append(self._decode(np.arange(begin, last + 1), self._bad)[0])
            self._last_decoded = (last, parts[-1][-self.array.chunk_rows :].copy())
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _zeros(self, count: int) -> Array:
        return np.zeros((count, *self.array.shape[1:]), self.array.dtype)


def missing_array(array: StoredArray, problem: str) -> SalvagedArray:
    """Return an array of which nothing can be found."""
    return SalvagedArray(array, ChunkPieces.none(array.num_chunks), problem)
