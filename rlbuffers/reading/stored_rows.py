"""Reading rows of one stored array: the fast path that every backend shares.

Of an array that is not in memory only the chunks that a request touches are read and decoded, each once. An
array that the plan keeps in memory gets there as soon as reading single chunks has cost a good part of
reading all of it, so that a look at a few rows of a large buffer does not wait for the rest.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from rlbuffers.reading.cache_plan import Place
from rlbuffers.reading.recycling import RecycledArrays
from rlbuffers.stores.base import StoredArray, StoreReader
from rlbuffers.stores.chunk_table import ChunkTable
from rlbuffers.stores.decoding import ChunkDecoder

__all__ = ["StoredRows"]

Array = np.ndarray[Any, Any]
Indices = np.ndarray[Any, np.dtype[np.int64]]

# An array of this size is decoded in some milliseconds: at its first use.
_SMALL_BYTES = 4 << 20
# Of larger ones so much is read in single chunks first.
_SHARE_BEFORE_KEEPING = 1 / 8
# Fresh memory of this size costs more than asking for memory that was used before.
_MIN_RECYCLED_BYTES = 1 << 16


class StoredRows:
    """Rows of one array, by index. Threads may read at once.

    Parameters
    ----------
    store : StoreReader
        The open store.
    name : str
        Name of the array.
    place : {"decoded", "compressed", "file"}, default "file"
        Where the rows are to come from once it pays.
    """

    def __init__(self, store: StoreReader, name: str, place: Place = "file") -> None:
        self.array: StoredArray = store.arrays[name]
        self.place = place
        self.check: Callable[[Array], None] | None = None  # of all rows, when they are read together
        self._store = store
        self._decoder = ChunkDecoder(self.array)
        self._table: ChunkTable | None = None
        self._kept: Array | None = store.decoded_rows(name)
        self._memory = RecycledArrays()
        self._keeping = threading.Lock()
        self._is_compressed_kept = False
        self._bytes_decoded = 0

    def __len__(self) -> int:
        return self.array.shape[0]

    @property
    def chunk_rows(self) -> int:
        """Rows of a chunk: rows ``i * chunk_rows`` to ``(i + 1) * chunk_rows`` are read together."""
        return self.array.chunk_rows

    @property
    def kept(self) -> Array | None:
        """All rows, not to be written to, if they are in memory decoded."""
        return self._kept

    def take(self, rows: Indices) -> Array:
        """Return the rows at non-negative indices of any order, repeats allowed, as a new array."""
        kept = self._kept_for(len(rows))
        if kept is not None:
            return self._taken(kept, rows)
        chunk_rows = self.array.chunk_rows
        chunks, inverse = np.unique(rows // chunk_rows, return_inverse=True)
        decoded = self.decode(chunks).reshape(len(chunks), chunk_rows, *self.array.shape[1:])
        wanted: Array = decoded[inverse, rows % chunk_rows]
        return wanted

    def runs(self, firsts: Indices, length: int) -> Array:
        """Return runs of rows, shape (B, length, *row): run i begins at row ``firsts[i]``. A new array."""
        shape = (len(firsts), length, *self.array.shape[1:])
        return self.take((firsts[:, None] + np.arange(length)).ravel()).reshape(shape)

    def chunks(self, numbers: Indices) -> Array:
        """Return whole chunks, shape (B, chunk_rows, *row), repeats allowed. A new array."""
        shape = (-1, self.array.chunk_rows, *self.array.shape[1:])
        kept = self._kept_for(len(numbers)) if len(self) % self.array.chunk_rows == 0 else None
        return self.decode(numbers).reshape(shape) if kept is None else self._taken(kept.reshape(shape), numbers)

    def _taken(self, kept: Array, rows: Indices) -> Array:
        shape = (len(rows), *kept.shape[1:])
        if self.array.dtype.itemsize * math.prod(shape) < _MIN_RECYCLED_BYTES:
            wanted: Array = kept.take(rows, axis=0)
            return wanted
        out = self._memory.empty(shape, self.array.dtype)
        return np.take(kept, rows, axis=0, out=out, mode="clip")  # any other mode works in a copy of `out`

    def slice(self, start: int, stop: int) -> Array:
        """Return rows `start` to `stop`, exclusive, as a new array."""
        kept = self._kept_for(1) if stop - start < self.array.chunk_rows else self._kept_for(0)
        if kept is not None:
            return kept[start:stop].copy()
        if stop <= start:
            return np.empty((0, *self.array.shape[1:]), self.array.dtype)
        first = start // self.array.chunk_rows
        chunks = np.arange(first, (stop - 1) // self.array.chunk_rows + 1)
        offset = start - first * self.array.chunk_rows
        return self.decode(chunks)[offset : offset + stop - start]

    def all(self) -> Array:
        """Return every row, not to be written to; kept if the plan is to keep it decoded."""
        if self._kept is not None:
            return self._kept
        rows = self._decoded()
        if self.check is not None:
            self.check(rows)
        if self.place == "decoded":
            self._kept = rows
        return rows

    def unchecked(self) -> Array:
        """Return every row as it is stored, whatever `check` would say of them."""
        return self._decoded() if self._kept is None else self._kept

    def _decoded(self) -> Array:
        self.table.require_all()  # before memory is taken for what is only claimed
        out = np.empty((self.array.num_chunks * self.array.chunk_rows, *self.array.shape[1:]), self.array.dtype)
        self._decode_into(np.arange(self.array.num_chunks), out)
        return out[: len(self)]

    def blocks(self, rows: int) -> Iterator[Array]:
        """Yield all rows in order, `rows` at a time."""
        for start in range(0, len(self), rows):
            yield self.slice(start, min(start + rows, len(self)))

    def decode(self, chunks: Indices) -> Array:
        """Decode whole chunks, shape (chunks * chunk_rows, *row).

        Raises
        ------
        CorruptDataError
            If a chunk fails its checksum or has another size; names file, array, chunk and offset.
        """
        shape = (len(chunks) * self.array.chunk_rows, *self.array.shape[1:])
        out = self._memory.empty(shape, self.array.dtype)
        self._decode_into(chunks, out)
        return out

    def _decode_into(self, chunks: Indices, out: Array) -> None:
        self._decoder.decode(self.table, chunks, out.reshape(-1).view(np.uint8))

    def _kept_for(self, num_chunks: int) -> Array | None:
        """Return all rows if they are in memory, or now get there because about `num_chunks` more are wanted."""
        if self._kept is not None or self.place == "file" or self._is_compressed_kept:
            return self._kept
        self._bytes_decoded += num_chunks * self.array.chunk_bytes
        small = self.place == "decoded" and self.array.nbytes <= _SMALL_BYTES
        pays = num_chunks and self._bytes_decoded >= self.array.nbytes * _SHARE_BEFORE_KEEPING
        # While one thread reads all of it, others go on as before.
        if (small or pays) and self._keeping.acquire(blocking=False):
            try:
                if self.place == "decoded":
                    self.all()
                elif not self._is_compressed_kept:
                    self._table = self.table.in_memory()
                    self._is_compressed_kept = True
            finally:
                self._keeping.release()
        return self._kept

    @property
    def table(self) -> ChunkTable:
        """Where the chunks are; asked of the store at the first use."""
        if self._table is None:
            self._table = self._store.chunk_table(self.array.name)
        return self._table
