"""Where the encoded bytes of an array's chunks are, learned piece by piece as chunks are asked for.

A buffer of five million transitions has as many chunks. So a table is neither read nor checked as a
whole: a backend cuts it into pieces (a Zarr shard's index, a stretch of the table that an HDF5 buffer
carries) and loads one when a chunk of it is first wanted.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlbuffers.errors import CorruptDataError

__all__ = ["ChunkFiles", "ChunkPlaces", "ChunkTable"]

Array = np.ndarray[Any, Any]
Int64 = np.ndarray[Any, np.dtype[np.int64]]


class ChunkFiles(ABC):
    """The files (or blocks of memory, or remote objects) that hold an array's chunks, by number."""

    @abstractmethod
    def name(self, number: int) -> str:
        """Name of a file, for messages."""

    @abstractmethod
    def size(self, number: int) -> int:
        """Size of a file in bytes.

        Raises
        ------
        CorruptDataError
            If it is missing.
        """

    @abstractmethod
    def read(self, numbers: Int64, offsets: Int64, sizes: Array) -> Sequence[memoryview]:
        """Read byte ranges, each from the file of its number.

        Raises
        ------
        CorruptDataError
            If a file ends before the range does.
        """

    @abstractmethod
    def in_memory(self) -> ChunkFiles:
        """Return the same files, read into memory as a whole; again the same ones if asked twice."""

    def descriptors(self, numbers: Int64, offsets: Int64) -> tuple[Int64, Int64] | None:
        """Return what compiled code reads from: file descriptors and offsets, or -1 and addresses.

        None where only `read` gives the bytes. Valid as long as this object lives.
        """
        return None


@dataclass(slots=True)
class ChunkPlaces:
    """Places of some chunks: entry i is the file, the offset in it and the size in bytes of the i-th one.

    No size is above `largest`.
    """

    files: ChunkFiles
    numbers: Int64
    offsets: Int64
    sizes: Array
    largest: int

    def read(self) -> Sequence[memoryview]:
        """Return the stored bytes of each chunk."""
        return self.files.read(self.numbers, self.offsets, self.sizes)


class ChunkTable:
    """Where each chunk of an array is. Threads may ask it at once.

    Parameters
    ----------
    array : str
        Name of the array, for messages.
    num_chunks : int
        Length of the table.
    files : ChunkFiles
        What holds the chunks.
    load : callable
        Returns (offsets, sizes) of all chunks of the piece of a given number.
    chunks_per_piece : int, optional
        How many chunks a piece describes; by default there is one piece.
    files_are_pieces : bool, default False
        Whether the chunks of piece i are in file i, instead of all in file 0.
    """

    def __init__(
        self,
        array: str,
        num_chunks: int,
        files: ChunkFiles,
        load: Callable[[int], tuple[Array, Array]],
        chunks_per_piece: int | None = None,
        *,
        files_are_pieces: bool = False,
    ) -> None:
        self.array = array
        self.num_chunks = num_chunks
        self.files = files
        self.chunks_per_piece = chunks_per_piece or max(num_chunks, 1)
        self._load_piece = load
        self._files_are_pieces = files_are_pieces
        # Zeroed memory takes no room before it is written to.
        self._offsets = np.zeros(num_chunks, np.int64)
        self._sizes = np.zeros(num_chunks, np.int32)
        self._is_loaded = np.zeros(-(-num_chunks // self.chunks_per_piece), np.bool_)
        self._largest = 0  # of all sizes, once all are loaded

    def places(self, chunks: Int64) -> ChunkPlaces:
        """Return where chunks are; what was not known of them is loaded.

        Raises
        ------
        CorruptDataError
            If a piece of the table is damaged, or a chunk in it is missing or lies outside its file.
        """
        if not self._largest or self._files_are_pieces:
            pieces = chunks // self.chunks_per_piece
            if not self._is_loaded[pieces].all():
                for piece in np.unique(pieces[~self._is_loaded[pieces]]).tolist():
                    self._load(piece)
        numbers = pieces if self._files_are_pieces else np.zeros(len(chunks), np.int64)
        sizes = self._sizes.take(chunks)
        largest = self._largest or int(sizes.max(initial=0))
        return ChunkPlaces(self.files, numbers, self._offsets.take(chunks), sizes, largest)

    def require_all(self) -> None:
        """Load the places of all chunks.

        Raises
        ------
        CorruptDataError
            See `places`; at the first chunk that is missing.
        """
        for piece in np.flatnonzero(~self._is_loaded).tolist():
            self._load(piece)

    def in_memory(self) -> ChunkTable:
        """Return a table of the same chunks whose files are in memory."""
        table = copy.copy(self)
        table.files = self.files.in_memory()
        return table

    def place_name(self, chunk: int) -> str:
        """Say where a chunk is: ``FILE: array 'NAME', chunk N (offset O, S bytes)``."""
        places = self.places(np.array([chunk], np.int64))
        file = self.files.name(int(places.numbers[0]))
        return f"{file}: array {self.array!r}, chunk {chunk} (offset {places.offsets[0]}, {places.sizes[0]} bytes)"

    def _load(self, piece: int) -> None:
        start = piece * self.chunks_per_piece
        stop = min(start + self.chunks_per_piece, self.num_chunks)
        offsets, sizes = self._load_piece(piece)
        offsets, sizes = offsets[: stop - start], sizes[: stop - start]
        file = piece if self._files_are_pieces else 0
        limit = self.files.size(file)
        # As unsigned numbers: what is missing is marked by the largest one.
        outside = (offsets.astype(np.uint64) > limit) | (sizes.astype(np.uint64) > limit)
        outside |= offsets.astype(np.uint64) + sizes.astype(np.uint64) > limit
        outside |= (sizes <= 0) | (sizes > np.iinfo(np.int32).max)
        if outside.any():
            chunk = start + int(outside.argmax())
            raise CorruptDataError(f"{self.files.name(file)}: array {self.array!r}: chunk {chunk} is missing")
        self._offsets[start:stop] = offsets
        self._sizes[start:stop] = sizes
        self._is_loaded[piece] = True
        if self._is_loaded.all():
            self._largest = int(self._sizes.max())
