"""Where a Zarr buffer's documents and shards are: a directory, or one ZIP file (remote ones: ``remote.py``)."""

from __future__ import annotations

import os
import struct
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from rlbuffers.errors import CorruptDataError, DownloadError, FormatError
from rlbuffers.local_inputs import MAX_DOCUMENT_BYTES, raise_shortage, read_document, require_inside
from rlbuffers.stores.chunk_table import Array, ChunkFiles, Int64
from rlbuffers.stores.local_files import LocalFiles

__all__ = ["MAX_DIRECTORY_BYTES", "ByteFile", "Folder", "LocalFolder", "ZipFolder"]

DOCUMENT = "zarr.json"
# Some hundred thousand members, of which Python keeps half a kilobyte each; a terabyte has some thousand shards.
MAX_DIRECTORY_BYTES = 8 << 20
# APPNOTE.TXT 6.3.10, section 4.3.7: signature, 22 bytes that the directory holds as well, lengths of name and extra.
_LOCAL_HEADER = struct.Struct("<4s22xHH")


class ByteFile(Protocol):
    """A file that is read by position."""

    name: str
    size: int

    def read(self, offset: int, size: int) -> bytes:
        """Read a range of bytes."""


class Folder(ABC):
    """Files below a root, by names such as ``frames/c/0/0/0``."""

    root: str

    def name_of(self, name: str) -> str:
        """Name a file in messages."""
        return f"{self.root}/{name}"

    @abstractmethod
    def documents(self, known: Collection[str]) -> list[str]:
        """Return the names of all ``zarr.json`` below the root, its own left out, sorted.

        `known` are the names of arrays that should be there; a folder that cannot be listed has these.
        """

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return a file's content.

        Raises
        ------
        CorruptDataError
            If it is missing or unreadable.
        """

    @abstractmethod
    def files(self, names: Sequence[str]) -> ChunkFiles:
        """Return files for reading chunks from; one that is missing is told when it is needed."""

    @abstractmethod
    def stored_bytes(self, names: Sequence[str]) -> int:
        """Sum of the sizes of files; those that are missing count nothing."""

    @abstractmethod
    def disk_bytes(self, known: Iterable[str]) -> int:
        """Size of everything below the root.

        `known` are the names of shards that should be there; a folder that cannot be listed counts these.
        """

    def count_below(self, name: str) -> int | None:
        """Count the files and folders directly below a folder; None where it cannot be listed."""
        return None

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the container itself."""
        return iter(())


class LocalFolder(Folder):
    """A directory."""

    def __init__(self, path: Path) -> None:
        self.root = str(path)
        self._path = path

    def documents(self, known: Collection[str]) -> list[str]:
        """See base class; what is there is listed, also what should not be."""
        above = frozenset([os.path.realpath(self._path)])
        return sorted(path.relative_to(self._path).as_posix() for path in self._below(self._path, above))

    def _below(self, folder: Path, seen: frozenset[str]) -> Iterator[Path]:
        """Yield documents without a look into the folders of the arrays' shards, or of those in `seen` once more."""
        for child in folder.iterdir():
            if child.is_dir():
                real = os.path.realpath(require_inside(self._path, child, is_source=False))
                if real in seen:
                    raise CorruptDataError(f"{child}: a link to a folder that it is in")
                document = child / DOCUMENT
                has_document = document.exists()
                if has_document:
                    yield document
                if not (has_document and (child / "c").is_dir()):
                    yield from self._below(child, seen | {real})

    def read(self, name: str) -> bytes:
        """See base class."""
        try:
            return read_document(self._inside(name))
        except OSError as error:
            raise_shortage(error, self.name_of(name))
            raise CorruptDataError(f"{self.name_of(name)}: cannot be read ({error.strerror})") from error

    def files(self, names: Sequence[str]) -> LocalFiles:
        """See base class."""
        return LocalFiles([self._inside(name) for name in names], "shard")

    def _inside(self, name: str) -> Path:
        return require_inside(self._path, self._path / name, is_source=False)

    def count_below(self, name: str) -> int:
        """See base class."""
        folder = self._inside(name)
        return sum(1 for _ in os.scandir(folder)) if folder.is_dir() else 0

    def stored_bytes(self, names: Sequence[str]) -> int:
        """See base class."""
        paths = [self._path / name for name in names]
        return sum(path.stat().st_size for path in paths if path.exists())

    def disk_bytes(self, known: Iterable[str]) -> int:
        """See base class."""
        return sum(path.stat().st_size for path in self._path.rglob("*") if path.is_file())


class ZipFolder(Folder):
    """The members of a ZIP file, stored as they are, so that a part of one is a part of the file.

    Parameters
    ----------
    file : ByteFile
        The ZIP file.
    container : ChunkFiles
        The same file, as number 0.
    """

    def __init__(self, file: ByteFile, container: ChunkFiles) -> None:
        self.root = file.name
        self._file = file
        self._container = container
        try:
            with zipfile.ZipFile(_Seekable(file)) as archive:
                self._members = {member.filename: member for member in archive.infolist()}
        except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, EOFError) as error:
            if isinstance(error.__context__, DownloadError):  # which zipfile takes for a damaged file
                raise error.__context__ from None
            raise CorruptDataError(f"{self.root}: damaged; not a whole ZIP file ({error})") from error
        for name, member in self._members.items():
            if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
                raise FormatError(
                    f"{self.name_of(name)}: compressed or encrypted inside the ZIP file; store it as it is"
                )

    def documents(self, known: Collection[str]) -> list[str]:
        """See base class."""
        return sorted(name for name in self._members if name.endswith(f"/{DOCUMENT}"))

    def read(self, name: str) -> bytes:
        """See base class."""
        start, size = self.place_of(name)
        if size > MAX_DOCUMENT_BYTES:
            raise CorruptDataError(
                f"{self.name_of(name)}: expected a document of at most {MAX_DOCUMENT_BYTES:,} bytes, found {size:,} "
                "bytes"
            )
        return self._file.read(start, size)

    def place_of(self, name: str) -> tuple[int, int]:
        """Return (offset, size) of a member's bytes in the ZIP file."""
        member = self._members.get(name)
        if member is None:
            raise CorruptDataError(f"{self.name_of(name)}: is missing")
        header = self._file.read(member.header_offset, _LOCAL_HEADER.size)
        signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
        start = member.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
        if signature != b"PK\x03\x04" or start + member.file_size > self._file.size:
            raise CorruptDataError(f"{self.name_of(name)}: damaged; it is not where the ZIP file's directory says")
        return start, member.file_size

    def files(self, names: Sequence[str]) -> ChunkFiles:
        """See base class."""
        return _Members(self, names, self._container)

    def count_below(self, name: str) -> int:
        """See base class."""
        return sum(member.startswith(f"{name}/") for member in self._members)

    def stored_bytes(self, names: Sequence[str]) -> int:
        """See base class; a ZIP file is kept in memory as a whole."""
        return self._file.size

    def disk_bytes(self, known: Iterable[str]) -> int:
        """See base class."""
        return self._file.size

    def problems(self) -> Iterator[str]:
        """See base class: every member has the checksum that the ZIP file's directory says."""
        try:
            with zipfile.ZipFile(_Seekable(self._file)) as archive:
                bad = archive.testzip()
            if bad is not None:
                yield f"{self.name_of(bad)}: the CRC-32 in the ZIP file's directory does not fit"
        except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, EOFError) as error:
            if isinstance(error.__context__, DownloadError):
                raise error.__context__ from None
            yield f"{self.root}: damaged; not a whole ZIP file ({error})"


class _Members(ChunkFiles):
    """Members of a ZIP file as the files that hold chunks."""

    def __init__(self, folder: ZipFolder, names: Sequence[str], container: ChunkFiles) -> None:
        self._folder = folder
        self._names = names
        self._container = container
        self._starts = np.full(len(names), -1, np.int64)
        self._sizes = np.zeros(len(names), np.int64)

    def name(self, number: int) -> str:
        """See base class."""
        return self._folder.name_of(self._names[number])

    def size(self, number: int) -> int:
        """See base class."""
        if self._starts[number] < 0:
            start, self._sizes[number] = self._folder.place_of(self._names[number])
            self._starts[number] = start
        return int(self._sizes[number])

    def read(self, numbers: Int64, offsets: Int64, sizes: Array) -> Sequence[memoryview]:
        """See base class."""
        return self._container.read(np.zeros_like(numbers), self._starts[numbers] + offsets, sizes)

    def descriptors(self, numbers: Int64, offsets: Int64) -> tuple[Int64, Int64] | None:
        """See base class."""
        return self._container.descriptors(np.zeros_like(numbers), self._starts[numbers] + offsets)

    def in_memory(self) -> ChunkFiles:
        """See base class."""
        kept = _Members(self._folder, self._names, self._container.in_memory())
        for number in range(len(self._names)):
            self.size(number)
        kept._starts, kept._sizes = self._starts, self._sizes
        return kept


class _Seekable:
    """What `zipfile` reads from."""

    def __init__(self, file: ByteFile) -> None:
        self._file = file
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        left = self._file.size - self._position
        count = left if size < 0 else min(size, left)
        if count > MAX_DIRECTORY_BYTES:
            raise CorruptDataError(
                f"{self._file.name}: expected a ZIP directory of at most {MAX_DIRECTORY_BYTES:,} bytes, found "
                f"{count:,}; a buffer has one file for many chunks"
            )
        found = self._file.read(self._position, count) if count > 0 else b""
        self._position += len(found)
        return found

    def seek(self, offset: int, whence: int = 0) -> int:
        base = {0: 0, 1: self._position, 2: self._file.size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative position {base + offset}")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        return
