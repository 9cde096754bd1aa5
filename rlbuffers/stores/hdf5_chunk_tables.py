"""Tables of chunks inside an HDF5 file, so that the library need not be asked for millions of them.

HDF5 tells the place of one chunk after walking over all before it, and all places at some microseconds
each. So an array of many chunks has its table in the file: a plain dataset of ``(offset, size)`` pairs in
pieces of 64 KiB, each with its own checksum, of which a reader takes what it needs (docs/format.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import xxhash

from rlbuffers.errors import CorruptDataError
from rlbuffers.hdf5_links import leads_inside
from rlbuffers.stores.folders import ByteFile

__all__ = ["CHUNKS_PER_PIECE", "GROUP", "StoredTable", "find_tables", "is_stale", "library_table", "write_tables"]

GROUP = "rlbuffers_chunks"
CHUNKS_PER_PIECE = 4095  # and one row for their checksum: 64 KiB
# The library tells fewer in some milliseconds.
_MIN_CHUNKS = 1024
_ROW_BYTES = 16
_CHUNKS_COMPARED = 16

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class StoredTable:
    """Where an array's table is in the file, and how many chunks it describes."""

    offset: int
    num_chunks: int

    def piece(self, file: ByteFile, number: int) -> tuple[Array, Array]:
        """Return (offsets, sizes) of the chunks of one piece.

        Raises
        ------
        CorruptDataError
            If the piece fails its checksum.
        """
        count = min(CHUNKS_PER_PIECE, self.num_chunks - number * CHUNKS_PER_PIECE)
        place = self.offset + number * (CHUNKS_PER_PIECE + 1) * _ROW_BYTES
        content = file.read(place, (count + 1) * _ROW_BYTES)
        if xxhash.xxh3_128_digest(content[:-_ROW_BYTES]) != content[-_ROW_BYTES:]:
            raise CorruptDataError(f"{file.name}: a table of chunks (offset {place}) is damaged")
        rows = np.frombuffer(content[:-_ROW_BYTES], "<u8").reshape(-1, 2)
        return rows[:, 0], rows[:, 1]

    def pieces(self, file: ByteFile) -> Iterator[tuple[Array, Array]]:
        """Yield the pieces in order."""
        for number in range(-(-self.num_chunks // CHUNKS_PER_PIECE)):
            yield self.piece(file, number)


def write_tables(file: h5py.File, num_chunks: Mapping[str, int]) -> None:
    """Add the tables of all arrays of many chunks to a file that holds all its chunks."""
    for name, count in num_chunks.items():
        if count >= _MIN_CHUNKS:
            rows = np.stack(library_table(file[name], count), axis=1).astype("<u8")
            file.create_dataset(f"{GROUP}/{name}", data=_with_checksums(rows))


def _with_checksums(rows: Array) -> Array:
    parts = []
    for start in range(0, len(rows), CHUNKS_PER_PIECE):
        piece = np.ascontiguousarray(rows[start : start + CHUNKS_PER_PIECE])
        parts += [piece, np.frombuffer(xxhash.xxh3_128_digest(piece.tobytes()), "<u8").reshape(1, 2)]
    return np.concatenate(parts)


def library_table(dataset: h5py.Dataset, num_chunks: int) -> tuple[Array, Array]:
    """Ask the library for every chunk: (offsets, sizes), int64; a chunk that is missing has size 0."""
    chunk_rows = dataset.chunks[0]
    offsets = np.zeros(num_chunks, np.int64)
    sizes = np.zeros(num_chunks, np.int64)

    def note(chunk: Any) -> None:
        index = chunk.chunk_offset[0] // chunk_rows
        if index < num_chunks and chunk.filter_mask == 0:
            offsets[index] = chunk.byte_offset
            sizes[index] = chunk.size

    dataset.id.chunk_iter(note)
    return offsets, sizes


def find_tables(hdf5: h5py.File) -> dict[str, StoredTable]:
    """Return the tables of an open file by the names of their arrays; what is no such table is left out."""
    found: dict[str, StoredTable] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype == "<u8" and item.ndim == 2 and item.shape[1] == 2:
            offset = item.id.get_offset()
            pieces = -(-item.shape[0] // (CHUNKS_PER_PIECE + 1))
            if offset is not None and item.shape[0] > pieces:
                found[name] = StoredTable(offset, item.shape[0] - pieces)

    if leads_inside(hdf5, GROUP) and isinstance(hdf5[GROUP], h5py.Group):
        hdf5[GROUP].visititems(note)
    return found


def is_stale(table: StoredTable, file: ByteFile, dataset: h5py.Dataset, num_chunks: int) -> bool:
    """Whether the file was rewritten since (by ``h5repack``, for one), judged by some chunks all over the array.

    Their bytes, where the table says they are, are compared with what the library reads.
    """
    if table.num_chunks != num_chunks:
        return True
    rest = (0,) * (dataset.ndim - 1)
    for chunk in np.unique(np.linspace(0, num_chunks - 1, _CHUNKS_COMPARED).astype(np.int64)).tolist():
        number, index = divmod(chunk, CHUNKS_PER_PIECE)
        try:
            offsets, sizes = table.piece(file, number)
        except CorruptDataError:
            continue  # damaged, not stale
        offset, size = int(offsets[index]), int(sizes[index])
        mask, stored = dataset.id.read_direct_chunk((chunk * dataset.chunks[0], *rest))
        if mask or size != len(stored) or offset + size > file.size or file.read(offset, size) != stored:
            return True
    return False
