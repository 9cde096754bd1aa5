"""Buffers on object stores and web servers, read by range requests through fsspec.

The ranges of a batch that lie close together become one request, and all requests of a batch go out at once
where the file system can do that. Nothing is written remotely: write a buffer locally and upload it.

No server can make a reader wait for ever or take all memory: `rlbuffers.network` has the limits. Web servers are read
by `rlbuffers.stores.remote_http`; the libraries of object stores are given the limits, and what they do has an end.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
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
from rlbuffers.local_inputs import MAX_DOCUMENT_BYTES
from rlbuffers.network import NetworkLimits, one_line
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
# Requests of a batch that are under way at once.
_CONCURRENT = 100
# What describes an array has a few hundred bytes.
_MAX_ARRAY_DOCUMENT_BYTES = 1 << 20
_MAX_DOCUMENTS = 10_000
_MIN_BYTES_PER_SECOND = 1024
_WEB = ("http", "https")
_S3 = ("s3", "s3a")
_OTHERS = ("gs", "gcs", "az", "abfs", "abfss", "adl", "hf", "oci", "oss", "memory")
_Result = TypeVar("_Result")


class _Remote:
    """A file system and the URL of something in it; made anew in each process, as connections do not survive a fork."""

    def __init__(self, url: Url) -> None:
        self.url = url
        self.versions: dict[str, Any] = {}
        self._process = -1
        self._system: Any = None

    def call(self, what: Callable[[Any], _Result], where: str) -> _Result:
        """Do something with the file system; translate what goes wrong.

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
            return what(self._connected())
        except DownloadError as error:
            raise DownloadError(f"{where}: cannot be read: {one_line(error)}") from error
        except RlbuffersError:
            raise
        except FileNotFoundError as error:
            root = _root_cause(error)
            if isinstance(root, OSError) and not isinstance(root, FileNotFoundError):  # fsspec's word for no answer
                raise DownloadError(f"{where}: cannot be read: {one_line(root)}") from error
            raise BufferNotFoundError(f"{where}: there is no such object") from error
        except ImportError as error:
            raise MissingDependencyError(
                f"Reading {self.url} needs more than is installed: {one_line(error)}. "
                "Install it with: pip install 'rlbuffers[remote]'"
            ) from error
        except TimeoutError as error:
            raise DownloadError(
                f"{where}: cannot be read: no whole answer in time; RLBUFFERS_TIMEOUT sets the limit"
            ) from error
        except Exception as error:  # each file system raises what its libraries raise
            raise DownloadError(f"{where}: cannot be read: {one_line(error)}") from error

    def ranges(
        self, urls: Sequence[Url], starts: Sequence[int], ends: Sequence[int], where: str, longest: int | None = None
    ) -> list[Any]:
        """Read ranges of bytes at once; an exception stands in place of one that is missing or failed.

        `longest` is for documents, which are asked for as a whole: longer ones are refused.
        """

        def ask(system: Any) -> list[Any]:
            paths = [system._strip_protocol(url) for url in urls]
            more = {"versions": self.versions, "longest": longest} if self._is_web else {}
            found: list[Any] = self._run(
                system,
                "cat_ranges",
                paths,
                list(starts),
                list(ends),
                num_bytes=sum(ends) - sum(starts) if longest is None else 0,
                on_error="return",
                batch_size=_CONCURRENT,
                **more,
            )
            return found

        return self.call(ask, where)

    def range(self, url: Url, start: int, end: int, where: str) -> bytes:
        """Read one range of bytes; raises what `call` raises."""
        (found,) = self.ranges([url], [start], [end], where)
        return self.found(found, where)

    def found(self, answer: Any, where: str) -> bytes:
        """Return bytes that `ranges` gave; raises what `call` raises if it gave an exception."""

        def give(_: Any) -> bytes:
            if isinstance(answer, BaseException):
                raise answer
            content: bytes = answer
            return content

        return self.call(give, where)

    def sizes(self, urls: Sequence[Url], where: str) -> list[int | None]:
        """Return the sizes of files in bytes; None where that is not known."""

        def ask(system: Any) -> list[int | None]:
            found: list[int | None] = self._run(system, "sizes", [system._strip_protocol(url) for url in urls])
            return found

        return self.call(ask, where)

    def size(self, url: Url, where: str) -> int | None:
        """Return the size of a file in bytes; None if the server does not say."""
        if not self._is_web:
            return self.sizes([url], where)[0]
        self.range(url, 0, 1, where)  # the answer says it
        size: int | None = self.versions[str(url)][0] if str(url) in self.versions else 0
        return size

    @property
    def _is_web(self) -> bool:
        return _protocol(self.url) in _WEB

    def _run(self, system: Any, name: str, *arguments: Any, num_bytes: int = 0, **options: Any) -> Any:
        """Call a method of the file system; one that answers asynchronously is given up after a time."""
        if not system.async_impl:
            options.pop("batch_size", None)
            return getattr(system, name)(*arguments, **options)
        from fsspec.asyn import sync

        limits = NetworkLimits.from_environment()
        # Web servers are watched request by request; what libraries of object stores do is bounded as a whole.
        seconds = (limits.retries + 1) * limits.timeout + num_bytes / _MIN_BYTES_PER_SECOND
        return sync(
            system.loop, getattr(system, f"_{name}"), *arguments, timeout=None if self._is_web else seconds, **options
        )

    def _connected(self) -> Any:
        if self._process != os.getpid():
            fsspec = require("fsspec", extra="remote", purpose="Reading from URLs")
            protocol = _protocol(self.url)
            if protocol in _WEB:
                require("aiohttp", extra="remote", purpose="Reading from web servers")
                from rlbuffers.stores.remote_http import LimitedHTTP

                self._system = LimitedHTTP()
            elif protocol in (*_S3, *_OTHERS):
                self._system = fsspec.filesystem(protocol, **_options(protocol, fsspec.config.conf))
            else:
                known = ", ".join(f"{name}://" for name in (*_WEB, "s3", "gs", "az", "hf"))
                raise UsageError(
                    f"{self.url}: nothing is known about addresses that begin with {protocol}://; buffers are read "
                    f"from {known} and files"
                )
            self._process = os.getpid()
        return self._system


def _protocol(url: Url) -> str:
    return url.partition("://")[0].lower()


def _options(protocol: str, configured: dict[str, Any]) -> dict[str, Any]:
    """Return what a file system is made with: the limits, in the words of its library; the user's settings go first."""
    if protocol not in _S3:
        return {}
    limits = NetworkLimits.from_environment()
    theirs = configured.get(protocol, {}).get("config_kwargs", {})
    retries = {"max_attempts": limits.retries, "mode": "standard"}
    return {
        "config_kwargs": {
            "connect_timeout": limits.timeout,
            "read_timeout": limits.timeout,
            "retries": retries,
            **theirs,
        }
    }


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
        self._url = url
        self._remote = _Remote(url)
        self._opened: _BlockFile | None = None
        self._opened_by = -1
        size = self._remote.size(url, self.name)
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
            If the network or the server fails, or the file was replaced meanwhile.
        """
        return _whole(self._remote.range(self._url, offset, offset + size, self.name), self.name, offset, size)

    def opened(self) -> io.RawIOBase:
        """Return a file object that keeps the blocks it has fetched, for libraries that read in small pieces."""
        if self._opened is None or self._opened_by != os.getpid():
            self._opened = _BlockFile(self)
            self._opened_by = os.getpid()
        return self._opened

    def as_files(self) -> RemoteFiles:
        """Return the same file as the only one, of number 0, that holds chunks."""
        return RemoteFiles(self._url, [self._url], self._remote)


class _BlockFile(io.RawIOBase):
    """A remote file for libraries; keeps the blocks that it read last."""

    def __init__(self, file: RemoteFile) -> None:
        super().__init__()
        self._size = file.size
        self._block = lru_cache(_BLOCKS)(
            lambda number: file.read(number * _BLOCK_BYTES, min(_BLOCK_BYTES, file.size - number * _BLOCK_BYTES))
        )
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        return self._position

    def readinto(self, target: Any) -> int:
        view = memoryview(target).cast("B")
        count = max(0, min(len(view), self._size - self._position))
        done = 0
        while done < count:
            number, offset = divmod(self._position + done, _BLOCK_BYTES)
            part = self._block(number)[offset : offset + count - done]
            view[done : done + len(part)] = part
            done += len(part)
        self._position += count
        return count


class RemoteFiles(ChunkFiles):
    """Remote files that hold chunks."""

    def __init__(self, root: Url, urls: Sequence[Url], remote: _Remote | None = None) -> None:
        self._remote = remote or _Remote(root)
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
                size = self._remote.size(self._urls[number], self.name(number))
            except BufferNotFoundError as error:
                raise CorruptDataError(f"{self.name(number)}: this part of the buffer is missing") from error
            if size is None:
                raise DownloadError(f"{self.name(number)}: the server does not say how large it is")
            self._sizes[number] = size
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

        answers = self._remote.ranges([self._urls[number] for number in numbers], starts, stops, str(self._remote.url))
        return [
            _whole(self._part(answer, number), self.name(number), start, stop - start)
            for answer, (number, start, stop) in zip(answers, requests, strict=True)
        ]

    def _part(self, answer: Any, number: int) -> bytes:
        try:
            return self._remote.found(answer, self.name(number))
        except BufferNotFoundError as error:
            raise CorruptDataError(f"{self.name(number)}: this part of the buffer is missing") from error

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
        if len(names) > _MAX_DOCUMENTS:
            raise CorruptDataError(f"{self.root}: claims {len(names):,} arrays, more than {_MAX_DOCUMENTS:,}")
        for name, answer in zip(names, self._documents(names, _MAX_ARRAY_DOCUMENT_BYTES), strict=True):
            if not isinstance(answer, FileNotFoundError):
                self._fetched[name] = self._document(answer, name, _MAX_ARRAY_DOCUMENT_BYTES)
        return names

    def read(self, name: str) -> bytes:
        """See base class."""
        if name in self._fetched:
            return self._fetched[name]
        longest = MAX_DOCUMENT_BYTES if name == DOCUMENT else _MAX_ARRAY_DOCUMENT_BYTES
        try:
            return self._document(self._documents([name], longest)[0], name, longest)
        except BufferNotFoundError as error:
            if name == DOCUMENT:
                raise
            raise CorruptDataError(f"{self.name_of(name)}: this part of the buffer is missing") from error

    def _documents(self, names: Sequence[str], longest: int) -> list[Any]:
        ends = [longest + 1] * len(names)
        return self._remote.ranges([self._url(name) for name in names], [0] * len(names), ends, self.root, longest)

    def _document(self, answer: Any, name: str, longest: int) -> bytes:
        content = self._remote.found(answer, self.name_of(name))
        if len(content) > longest:
            raise CorruptDataError(
                f"{self.name_of(name)}: expected a document of at most {longest:,} bytes, found more"
            )
        return content

    def files(self, names: Sequence[str]) -> RemoteFiles:
        """See base class."""
        return RemoteFiles(Url(self.root), [self._url(name) for name in names], self._remote)

    def stored_bytes(self, names: Sequence[str]) -> int:
        """See base class."""
        try:
            return sum(size or 0 for size in self._remote.sizes([self._url(name) for name in names], self.root))
        except BufferNotFoundError:
            return 0

    def disk_bytes(self, known: Iterable[str]) -> int:
        """See base class; counts what is known of."""
        return len(self.read(DOCUMENT)) + sum(map(len, self._fetched.values())) + self.stored_bytes(list(known))


def _whole(found: bytes, name: str, offset: int, size: int) -> bytes:
    if len(found) != size:
        raise CorruptDataError(f"{name}: expected {size} bytes at offset {offset}, got {len(found)}; it was cut short")
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
