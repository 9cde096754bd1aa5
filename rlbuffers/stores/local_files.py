"""Chunks in local files and in memory.

Files are read by position (``pread``), not mapped: of a mapped file that is larger than memory ought to
hold, the kernel maps whole stretches at the first touch, and a few thousand random reads make all of it
resident. Reading costs half a microsecond more a chunk than a mapping that is in place already, and a
file that is cut short meanwhile is an error instead of a fatal signal.
"""

from __future__ import annotations

import os
import resource
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.local_inputs import raise_shortage, refuse_special
from rlbuffers.stores.chunk_table import Array, ChunkFiles, Int64

__all__ = ["LocalFiles", "MemoryBlocks", "OpenFile"]

_BLOCK_BYTES = 16 << 20


class OpenFile:
    """A local file, open for reading by position until nobody refers to it; safe between threads and after a fork."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.descriptor = os.open(refuse_special(path), os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, _close, self.descriptor)
        self.size = os.fstat(self.descriptor).st_size

    def read(self, offset: int, size: int) -> bytes:
        """Read a range of bytes.

        Raises
        ------
        CorruptDataError
            If the file ends before the range does, or cannot be read.
        """
        if offset + size > self.size:  # before memory is taken for what is not there
            raise CorruptDataError(f"{self.name}: ends before offset {offset + size}; it was cut short")
        try:
            found = os.pread(self.descriptor, size, offset)
            while 0 < len(found) < size:  # one call reads at most 2 GiB, and a signal may cut it short
                more = os.pread(self.descriptor, size - len(found), offset + len(found))
                if not more:
                    break
                found += more
        except OSError as error:
            raise CorruptDataError(f"{self.name}: cannot be read at offset {offset} ({error})") from error
        if len(found) != size:
            raise CorruptDataError(f"{self.name}: ends before offset {offset + size}; it was cut short")
        return found


class LocalFiles(ChunkFiles):
    """Files that are opened when they are first needed and stay open, as far as the system lets a process.

    Parameters
    ----------
    paths : sequence of Path
        The files, by number.
    what : str
        What a file is, for messages, such as ``"shard"``.
    """

    def __init__(self, paths: Sequence[Path], what: str = "file") -> None:
        self._paths = paths
        self._what = what
        self._open: dict[int, OpenFile] = {}
        self._descriptors = np.full(len(paths), -1, np.int64)
        self._num_unopened = len(paths)
        self._in_memory: MemoryBlocks | None = None
        self._passing = threading.local()  # files beyond the limit: open while one thread reads from them
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._max_open = soft * 3 // 4 if soft != resource.RLIM_INFINITY else len(paths)

    def name(self, number: int) -> str:
        """See base class."""
        return str(self._paths[number])

    def size(self, number: int) -> int:
        """See base class."""
        return self._file(number).size

    def _file(self, number: int) -> OpenFile:
        found = self._open.get(number)
        if found is not None:
            return found
        path = self._paths[number]
        try:
            opened = OpenFile(path)
        except FormatError as error:
            raise CorruptDataError(f"{error}; it should be a {self._what} of the buffer") from error
        except OSError as error:
            raise_shortage(error, path)
            raise CorruptDataError(f"{path}: this {self._what} is missing or unreadable ({error.strerror})") from error
        if len(self._open) < self._max_open:
            # Another thread may have been faster; whoever comes second uses, and keeps, the first one's.
            opened = self._open.setdefault(number, opened)
            self._descriptors[number] = opened.descriptor
            self._num_unopened = len(self._paths) - len(self._open)
        return opened

    def read(self, numbers: Int64, offsets: Int64, sizes: Array) -> Sequence[memoryview]:
        """See base class."""
        places = zip(numbers.tolist(), offsets.tolist(), sizes.tolist(), strict=True)
        return [memoryview(self._file(number).read(offset, size)) for number, offset, size in places]

    def in_memory(self) -> MemoryBlocks:
        """See base class."""
        if self._in_memory is None:
            blocks = [_whole(self._file(number)) for number in range(len(self._paths))]
            self._in_memory = MemoryBlocks(blocks, [str(path) for path in self._paths])
        return self._in_memory

    def descriptors(self, numbers: Int64, offsets: Int64) -> tuple[Int64, Int64]:
        """See base class; files beyond the limit stay open until this thread asks for others."""
        found: Int64 = self._descriptors.take(numbers)
        if self._num_unopened and len(found) and found.min() < 0:
            passing = {}
            for number in np.unique(numbers[found < 0]).tolist():
                passing[number] = self._file(number)
                found[numbers == number] = passing[number].descriptor
            self._passing.files = passing
        return found, offsets


def _whole(file: OpenFile) -> Array:
    content = np.empty(file.size, np.uint8)
    for start in range(0, file.size, _BLOCK_BYTES):
        block = file.read(start, min(_BLOCK_BYTES, file.size - start))
        content[start : start + len(block)] = np.frombuffer(block, np.uint8)
    return content


class MemoryBlocks(ChunkFiles):
    """Chunks in memory, in blocks.

    Parameters
    ----------
    blocks : sequence of uint8 arrays
        The blocks, by number.
    names : sequence of str
        For messages.
    """

    def __init__(self, blocks: Sequence[Array], names: Sequence[str]) -> None:
        self._blocks = blocks
        self._names = names
        self._addresses = np.array([block.__array_interface__["data"][0] for block in blocks], np.int64)

    def name(self, number: int) -> str:
        """See base class."""
        return self._names[number]

    def size(self, number: int) -> int:
        """See base class."""
        return int(self._blocks[number].nbytes)

    def read(self, numbers: Int64, offsets: Int64, sizes: Array) -> Sequence[memoryview]:
        """See base class."""
        places = zip(numbers.tolist(), offsets.tolist(), sizes.tolist(), strict=True)
        return [self._blocks[number].data[offset : offset + size] for number, offset, size in places]

    def in_memory(self) -> MemoryBlocks:
        """See base class."""
        return self

    def descriptors(self, numbers: Int64, offsets: Int64) -> tuple[Int64, Int64]:
        """See base class."""
        return np.full(len(numbers), -1, np.int64), self._addresses[numbers] + offsets


def _close(descriptor: int) -> None:
    """Close what was only read: an error of the disk tells nothing of what was read before."""
    with suppress(OSError):
        os.close(descriptor)
