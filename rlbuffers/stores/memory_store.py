"""Buffers in RAM, for tests and small experiments; the reference that other stores are compared with.

They live as long as the process, under names such as ``memory:demo``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.errors import BufferNotFoundError
from rlbuffers.paths import Url
from rlbuffers.stores.base import StoredArray, StoreReader, StoreWriter, View
from rlbuffers.stores.chunk_table import Array, ChunkTable
from rlbuffers.stores.codecs import Codec, RawCodec
from rlbuffers.stores.local_files import MemoryBlocks

__all__ = ["MemoryReader", "MemoryWriter"]


class _Buffer:
    def __init__(self) -> None:
        self.metadata = ""
        self.arrays: dict[str, StoredArray] = {}
        self.chunks: dict[str, list[bytes]] = {}
        self.blocks: dict[str, Array] = {}


_BUFFERS: dict[str, _Buffer] = {}


class MemoryWriter(StoreWriter):
    """Keeps chunks in lists until the buffer is finished and gets its name."""

    def __init__(self, path: Path) -> None:
        self._name = str(path)
        self._buffer = _Buffer()

    def create_array(self, name: str, dtype: np.dtype[Any], row_shape: tuple[int, ...], chunk_rows: int) -> Codec:
        """See base class."""
        self._buffer.arrays[name] = StoredArray(name, dtype, (0, *row_shape), chunk_rows, RawCodec())
        self._buffer.chunks[name] = []
        return RawCodec()

    def write_chunks(self, name: str, chunks: Sequence[bytes]) -> None:
        """See base class."""
        self._buffer.chunks[name].extend(chunks)

    def written(self, name: str) -> tuple[Array, Array]:
        """See base class; nothing is in files."""
        return np.empty(0, np.int64), np.empty(0, np.int64)

    def finish(self, lengths: Mapping[str, int], metadata: str, views: Sequence[View]) -> None:
        """See base class."""
        for name, array in self._buffer.arrays.items():
            self._buffer.arrays[name] = replace(array, shape=(lengths[name], *array.shape[1:]))
            self._buffer.blocks[name] = np.frombuffer(b"".join(self._buffer.chunks.pop(name)), np.uint8)
        self._buffer.metadata = metadata
        _BUFFERS[self._name] = self._buffer

    def abort(self) -> None:
        """See base class."""
        if _BUFFERS.get(self._name) is self._buffer:
            del _BUFFERS[self._name]
        self._buffer = _Buffer()


class MemoryReader(StoreReader):
    """Reads a buffer that this process has written."""

    def __init__(self, buffer: _Buffer) -> None:
        self._buffer = buffer
        self.metadata = buffer.metadata
        self.arrays = buffer.arrays

    @classmethod
    def open(cls, path: Path | Url) -> MemoryReader:
        """See base class."""
        try:
            return cls(_BUFFERS[str(path)])
        except KeyError:
            raise BufferNotFoundError(f"{path}: this process has written no buffer of that name") from None

    @staticmethod
    def exists(path: Path) -> bool:
        """Whether this process has written a buffer of that name."""
        return str(path) in _BUFFERS

    def chunk_table(self, name: str) -> ChunkTable:
        """See base class."""
        array = self.arrays[name]
        block = self._buffer.blocks[name]
        offsets = np.arange(array.num_chunks, dtype=np.int64) * array.chunk_bytes
        places = offsets, np.full(array.num_chunks, array.chunk_bytes, np.int64)
        return ChunkTable(name, array.num_chunks, MemoryBlocks([block], ["memory"]), lambda _: places)

    def stored_bytes(self, name: str) -> int:
        """See base class."""
        return self._buffer.blocks[name].nbytes

    def decoded_rows(self, name: str) -> Array:
        """See base class."""
        array = self.arrays[name]
        rows: Array = self._buffer.blocks[name].view(array.dtype).reshape(-1, *array.shape[1:])[: array.shape[0]]
        return rows

    def read_view(self, name: str, rows: Sequence[int]) -> None:
        """See base class; there are no views in memory."""

    def disk_bytes(self) -> int:
        """Size of all chunks in bytes."""
        return sum(block.nbytes for block in self._buffer.blocks.values())

    def close(self) -> None:
        """The buffer stays until the process ends."""
