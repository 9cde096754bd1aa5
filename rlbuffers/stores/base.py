"""The contract between the one writer, the one reader and each storage backend.

A backend keeps named arrays that grow along axis 0, each cut into chunks of `chunk_rows` rows, and
one metadata text. It does two things:

* a :class:`StoreWriter` takes chunks that are already encoded, in row order, and at the end the
  final lengths, the metadata and the views; nothing is readable before that;
* a :class:`StoreReader` answers where the bytes of each chunk are. Decoding, gathering, caching
  and checking are the reader's and the same for every backend.

The last chunk of an array is stored at full size, padded with zeros.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.paths import Url
from rlbuffers.stores.chunk_table import ChunkTable
from rlbuffers.stores.codecs import Codec

__all__ = ["StackView", "StepView", "StoreReader", "StoreWriter", "StoredArray", "View"]


Int64 = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class StoredArray:
    """What a store knows about one of its arrays."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    chunk_rows: int
    codec: Codec

    @property
    def num_chunks(self) -> int:
        """Number of chunks that hold the rows."""
        return -(-self.shape[0] // self.chunk_rows)

    @property
    def chunk_bytes(self) -> int:
        """Size of one decoded chunk in bytes."""
        return self.dtype.itemsize * self.chunk_rows * math.prod(self.shape[1:])

    @property
    def row_bytes(self) -> int:
        """Size of one row in bytes."""
        return self.dtype.itemsize * math.prod(self.shape[1:])

    @property
    def nbytes(self) -> int:
        """Size of all rows, decoded, in bytes."""
        return self.dtype.itemsize * math.prod(self.shape)


@dataclass(frozen=True)
class StackView:
    """A view of `frames` as stacks: row i holds ``frames[first[i] + shift : first[i] + shift + depth]``.

    `run_starts`, `run_frames` and `run_lengths` describe it in runs: rows ``run_starts[r]`` to
    ``run_starts[r] + run_lengths[r]`` begin at frames ``run_frames[r]``, ``run_frames[r] + step``, ...
    """

    name: str
    depth: int
    shift: int
    step: int
    run_starts: Int64
    run_frames: Int64
    run_lengths: Int64
    override_rows: Int64


@dataclass(frozen=True)
class StepView:
    """A view of next observations: row i is row i + 1, or the episode's final one at its end."""

    name: str
    steps: str
    finals: str
    starts: Int64
    lengths: Int64


View = StackView | StepView


class StoreWriter(ABC):
    """Takes a new buffer's arrays; `finish` makes it complete, `abort` leaves nothing open.

    Parameters
    ----------
    path : Path
        Where to write; nothing is there yet.
    """

    @abstractmethod
    def __init__(self, path: Path) -> None: ...

    @abstractmethod
    def create_array(self, name: str, dtype: np.dtype[Any], row_shape: tuple[int, ...], chunk_rows: int) -> Codec:
        """Add an empty array and return the codec for its chunks."""

    def use_codec(self, name: str, codec: Codec) -> None:  # noqa: B027  most containers have no use for it
        """Take note of the codec that encodes the chunks of an array, for containers that state its level."""

    @abstractmethod
    def write_chunks(self, name: str, chunks: Sequence[bytes]) -> None:
        """Append encoded chunks to an array."""

    @abstractmethod
    def written(self, name: str) -> tuple[Int64, Int64]:
        """Return (offsets, sizes) in bytes of the chunks of an array that are in its files so far, by chunk number.

        An offset counts from the beginning of the file that holds the chunk. What a backend does not put into files
        is left out.
        """

    def chunks_per_file(self, name: str) -> int | None:
        """Return after how many chunks of an array another file begins; None where all are in one."""
        return None

    @abstractmethod
    def finish(self, lengths: Mapping[str, int], metadata: str, views: Sequence[View]) -> None:
        """Set each array's number of rows, store the metadata text and close.

        `views` are offered to backends that can show derived arrays without storing them.
        """

    @abstractmethod
    def abort(self) -> None:
        """Close without finishing; the caller removes what is there."""


class StoreReader(ABC):
    """Opens a finished buffer; safe between threads and to use after a fork."""

    @classmethod
    @abstractmethod
    def open(cls, path: Path | Url) -> StoreReader:
        """Open the buffer at `path`.

        Raises
        ------
        FormatError
            If the file is not of this backend's format or not an rlbuffers buffer.
        """

    metadata: str
    arrays: Mapping[str, StoredArray]

    @abstractmethod
    def chunk_table(self, name: str) -> ChunkTable:
        """Return where each chunk of an array is.

        Raises
        ------
        CorruptDataError
            If that cannot be found out.
        """

    @abstractmethod
    def stored_bytes(self, name: str) -> int:
        """Size in bytes of the files that hold an array's chunks, whatever else is in them."""

    def decoded_rows(self, name: str) -> np.ndarray[Any, Any] | None:
        """Return all rows of an array where these are in memory in any case, not to be written to; else None."""
        return None

    def problems(self) -> Iterator[str]:
        """Yield what contradicts itself in how the container keeps the chunks, a sentence each."""
        return iter(())

    @abstractmethod
    def read_view(self, name: str, rows: Sequence[int]) -> np.ndarray[Any, Any] | None:
        """Read rows of a derived array through the container's own library.

        Returns None where the backend shows no such view, so that a caller can compare what plain
        readers of the container get with what the buffer holds.

        Raises
        ------
        CorruptDataError
            If the view cannot be read.
        """

    @abstractmethod
    def disk_bytes(self) -> int:
        """Size of the buffer on disk in bytes."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and maps."""
