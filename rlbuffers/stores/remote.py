"""Buffers on object stores and web servers, read by range requests through fsspec.

The ranges of a batch that lie close together become one request, and all requests of a batch go out at once
where the file system can do that. Nothing is written remotely: write a buffer locally and upload it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rlbuffers.errors import (
    BufferNotFoundError,
    CorruptDataError,
    DownloadError,
    MissingDependencyError,
    RlbuffersError,
    UsageError,
)
from rlbuffers.optional import require
from rlbuffers.paths import Url
from rlbuffers.stores.chunk_table import Array, ChunkFiles, Int64
from rlbuffers.stores.folders import DOCUMENT, Folder
from rlbuffers.stores.local_files import MemoryBlocks

__all__ = ["RemoteFile", "RemoteFiles", "RemoteFolder"]

# A request costs some milliseconds, in which this much arrives on a slow line.
_MAX_GAP_BYTES = 64 << 10
_MAX_REQUEST_BYTES = 8 << 20
_BLOCK_BYTES = 256 << 10
_BLOCKS = 64
_Result = TypeVar("_Result")


class _Remote:
    """A file system and the URL of something in it; made anew in each process, as connections do not survive a fork."""

    def __init__(self, url: Url) -> None:
        self.url = url
        self._process = -1
        self._system: Any = None

    def call(self, what: Callable[[Any, str], _Result], where: str) -> _Result:
        """Do something with the file system and the path in it; translate what goes wrong.

        Raises
        ------
        BufferNotFoundError
            If there is nothing at the path.
        MissingDependencyError, UsageError
            If there is nothing to read such URLs with.
        DownloadError
            If the network or the server fails.
        """
        try:
            system, path = self._connected()
            return what(system, path)
        except RlbuffersError:
            raise
        except FileNotFoundError as error:
            root = _root_cause(error)
            if isinstance(root, OSError) and not isinstance(root, FileNotFoundError):  # fsspec's word for no answer
                raise DownloadError(f"{where}: cannot be read: {_one_line(root)}") from error
            raise BufferNotFoundError(f"{where}: there is no such object") from error
        except ImportError as error:
            raise MissingDependencyError(
                f"Reading {self.url} needs more than is installed: {_one_line(error)}. "
                "Install it with: pip install 'rlbuffers[remote]'"
            ) from error
        except Exception as error:  # each file system raises what its libraries raise
            raise DownloadError(f"{where}: cannot be read: {_one_line(error)}") from error

    def _connected(self) -> tuple[Any, str]:
        if self._process != os.getpid():
            fsspec = require("fsspec", extra="remote", purpose="Reading from URLs")
            protocol = self.url.partition("://")[0]
            if protocol not in fsspec.available_protocols():
                raise UsageError(f"{self.url}: nothing is known about addresses that begin with {protocol}://")
            self._system = fsspec.filesystem(protocol)
            self._process = os.getpid()
        return self._system, self._system._strip_protocol(self.url)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _root_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


class RemoteFile:
    """A remote file that is read by position.

    Parameters
    ----------
    url : Url
        Where it is.

    Raises
    ------
    BufferNotFoundError, DownloadError, MissingDependencyError
        If it is missing or cannot be read.
    """

    def __init__(self, url: Url) -> None:
        self.name = str(url)
        self._remote = _Remote(url)
        self._opened: Any = None
        self._opened_by = -1
        size = self._remote.call(lambda system, path: system.size(path), self.name)
        if size is None:
            raise DownloadError(f"{url}: the server does not say how large it is, which reading parts of it needs")
        self.size = int(size)

    def read(self, offset: int, size: int) -> bytes:
        """Read a range of bytes.

        Raises
        ------
        CorruptDataError
            If the file ends before the range does.
        DownloadError
            If the network or the server fails.
        """
        found: bytes = self._remote.call(
            lambda system, path: system.cat_file(path, start=offset, end=offset + size), self.name
        )
        return _whole(found, self.name, offset, size)

    def opened(self) -> Any:
        """Return a file object that keeps the blocks it has fetched, for libraries that read in small pieces."""
        if self._opened_by != os.getpid():
            options = {"block_size": _BLOCK_BYTES, "cache_type": "blockcache", "cache_options": {"maxblocks": _BLOCKS}}
            self._opened = self._remote.call(lambda system, path: system.open(path, "rb", **options), self.name)
            self._opened_by = os.getpid()
        return self._opened


class RemoteFiles(ChunkFiles):
    """Remote files that hold chunks."""

    def __init__(self, root: Url, urls: Sequence[Url]) -> None:
        self._remote = _Remote(root)
        self._urls = urls
        self._sizes: dict[int, int] = {}
        self._in_memory: MemoryBlocks | None = None

    def name(self, number: int) -> str:
        """See base class."""
        return str(self._urls[number])

    def size(self, number: int) -> int:
        """See base class."""
        if number not in self._sizes:
            try:
                self._sizes[number] = RemoteFile(self._urls[number]).size
            except BufferNotFoundError as error:
                raise CorruptDataError(f"{self._urls[number]}: this part of the buffer is missing") from error
        return self._sizes[number]

    def read(self, numbers: Int64, offsets: Int64, sizes: Array) -> Sequence[memoryview]:
        """See base class; ranges that lie close together are one request."""
        requests, owners = _coalesced(numbers, offsets, sizes.astype(np.int64))
        blocks = self._fetch(requests)
        views = [memoryview(block) for block in blocks]
        return [
            views[owner][offset - requests[owner][1] :][:size]
            for owner, offset, size in zip(owners, offsets.tolist(), sizes.tolist(), strict=True)
        ]

    def _fetch(self, requests: Sequence[tuple[int, int, int]]) -> list[bytes]:
        """Fetch (file, start, stop) ranges."""
        if not requests:
            return []
        numbers, starts, stops = (list(part) for part in zip(*requests, strict=True))

        def ask(system: Any, _: str) -> list[bytes]:
            paths = [system._strip_protocol(self._urls[number]) for number in numbers]
            found: list[bytes] = system.cat_ranges(paths, starts, stops, on_error="raise")
            return found

        try:
            blocks = self._remote.call(ask, str(self._remote.url))
        except BufferNotFoundError as error:
            raise CorruptDataError(f"{self._remote.url}: a part of it is missing ({error.__cause__})") from error
        return [
            _whole(block, self.name(number), start, stop - start)
            for block, (number, start, stop) in zip(blocks, requests, strict=True)
        ]

    def in_memory(self) -> MemoryBlocks:
        """See base class."""
        if self._in_memory is None:
            blocks = []
            for number in range(len(self._urls)):
                size = self.size(number)
                starts = range(0, size, _MAX_REQUEST_BYTES)
                parts = self._fetch([(number, start, min(start + _MAX_REQUEST_BYTES, size)) for start in starts])
                blocks.append(np.frombuffer(b"".join(parts), np.uint8))
            self._in_memory = MemoryBlocks(blocks, [str(url) for url in self._urls])
        return self._in_memory


class RemoteFolder(Folder):
    """A Zarr directory on a server, which need not list its files: their names follow from the metadata."""

    def __init__(self, url: Url) -> None:
        self.root = str(url).rstrip("/")
        self._remote = _Remote(url)
        self._fetched: dict[str, bytes] = {}

    def _url(self, name: str) -> Url:
        return Url(f"{self.root}/{name}")

    def documents(self, known: Collection[str]) -> list[str]:
        """See base class; they are fetched at once."""
        folders = {parent.as_posix() for name in known for parent in Path(name).parents if parent.name}
        names = sorted(f"{name}/{DOCUMENT}" for name in {*known, *folders})

        def ask(system: Any, _: str) -> dict[str, Any]:
            paths = {system._strip_protocol(self._url(name)): name for name in names}
            found = system.cat(list(paths), on_error="omit")
            return {paths[path]: content for path, content in found.items() if path in paths}

        self._fetched.update(self._remote.call(ask, self.root) if names else {})
        return names

    def read(self, name: str) -> bytes:
        """See base class."""
        if name in self._fetched:
            return self._fetched[name]

        def ask(system: Any, _: str) -> bytes:
            content: bytes = system.cat_file(system._strip_protocol(self._url(name)))
            return content

        try:
            return self._remote.call(ask, self.name_of(name))
        except BufferNotFoundError as error:
            if name == DOCUMENT:
                raise
            raise CorruptDataError(f"{self.name_of(name)}: this part of the buffer is missing") from error

    def files(self, names: Sequence[str]) -> RemoteFiles:
        """See base class."""
        return RemoteFiles(Url(self.root), [self._url(name) for name in names])

    def stored_bytes(self, names: Sequence[str]) -> int:
        """See base class."""

        def ask(system: Any, _: str) -> int:
            sizes = system.sizes([system._strip_protocol(self._url(name)) for name in names])
            return sum(size or 0 for size in sizes)

        try:
            return self._remote.call(ask, self.root)
        except BufferNotFoundError:
            return 0

    def disk_bytes(self) -> int:
        """See base class; of a server that lists nothing, what is known of."""

        def ask(system: Any, path: str) -> int:
            return int(system.du(path))

        return self._remote.call(ask, self.root)


def _whole(found: bytes, name: str, offset: int, size: int) -> bytes:
    if len(found) != size:
        raise CorruptDataError(
            f"{name}: expected {size} bytes at offset {offset}, got {len(found)}; it was cut short, or the server "
            "does not answer range requests"
        )
    return found


def _coalesced(numbers: Int64, offsets: Int64, sizes: Int64) -> tuple[list[tuple[int, int, int]], list[int]]:
    """Join ranges that are close: returns (file, start, stop) of each request, and the request of each range."""
    order = np.lexsort((offsets, numbers))
    requests: list[tuple[int, int, int]] = []
    owners = [0] * len(order)
    for index in order.tolist():
        number, start = int(numbers[index]), int(offsets[index])
        stop = start + int(sizes[index])
        if requests:
            last, begin, end = requests[-1]
            if last == number and start - end <= _MAX_GAP_BYTES and stop - begin <= _MAX_REQUEST_BYTES:
                requests[-1] = (number, begin, max(end, stop))
                owners[index] = len(requests) - 1
                continue
        requests.append((number, start, stop))
        owners[index] = len(requests) - 1
    return requests, owners
