"""Reading rows of one stored array: the fast path that every backend shares.

An array that fits the memory budget is decoded once and kept. Of larger ones only the chunks that a
request touches are read and decoded, each once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from rlbuffers.recycling import RecycledArrays
from rlbuffers.stores.base import StoredArray, StoreReader
from rlbuffers.stores.chunk_table import ChunkTable
from rlbuffers.stores.decoding import decode_chunks

__all__ = ["StoredRows"]

Array = np.ndarray[Any, Any]
Indices = np.ndarray[Any, np.dtype[np.int64]]


class StoredRows:
    """Rows of one array, by index.

    Parameters
    ----------
    store : StoreReader
        The open store.
    name : str
        Name of the array.
    keep : bool, default False
        Whether the whole array is decoded at its first use and kept in RAM.
    """

    def __init__(self, store: StoreReader, name: str, *, keep: bool = False) -> None:
        self.array: StoredArray = store.arrays[name]
        self._store = store
        self._keep = keep
        self._table: ChunkTable | None = None
        self._kept: Array | None = None
        self._memory = RecycledArrays()

    def __len__(self) -> int:
        return self.array.shape[0]

    def take(self, rows: Indices) -> Array:
        """Return the rows at non-negative indices of any order, repeats allowed, as a new array."""
        if self._keep:
            kept: Array = self.all().take(rows, axis=0)
            return kept
        chunk_rows = self.array.chunk_rows
        chunks, inverse = np.unique(rows // chunk_rows, return_inverse=True)
        decoded = self.decode(chunks).reshape(len(chunks), chunk_rows, *self.array.shape[1:])
        wanted: Array = decoded[inverse, rows % chunk_rows]
        return wanted

    def slice(self, start: int, stop: int) -> Array:
        """Return rows `start` to `stop`, exclusive, as a new array."""
        if self._keep:
            return self.all()[start:stop].copy()
        if stop <= start:
            return np.empty((0, *self.array.shape[1:]), self.array.dtype)
        first = start // self.array.chunk_rows
        chunks = np.arange(first, (stop - 1) // self.array.chunk_rows + 1)
        offset = start - first * self.array.chunk_rows
        return self.decode(chunks)[offset : offset + stop - start]

    def all(self) -> Array:
        """Return every row; kept if the array is small enough to be kept."""
        if self._kept is not None:
            return self._kept
        rows = self.decode(np.arange(self.array.num_chunks))[: len(self)]
        if self._keep:
            self._kept = rows
        return rows

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
        decode_chunks(self.array, self.table, chunks, out.reshape(-1).view(np.uint8))
        return out

    @property
    def table(self) -> ChunkTable:
        """Where the chunks are; asked of the store at the first use."""
        if self._table is None:
            self._table = self._store.chunk_table(self.array.name)
        return self._table
