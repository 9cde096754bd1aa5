"""A Zarr group of version 2 that somebody else made: what is read of it, looked at before zarr-python decodes it.

The codecs take what a chunk announces, or becomes, without asking what the array has room for. So each chunk is held
against its array, and each document against what documents are.
"""

from __future__ import annotations

import bz2
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import zarr.storage
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype

from rlbuffers.decoding.claims import FREE_BYTES, RECORD_GROWTH, require_room
from rlbuffers.decoding.zip_directory import require_few_members
from rlbuffers.errors import CorruptDataError
from rlbuffers.local_inputs import check_folder
from rlbuffers.sources.json_text import parse_json

__all__ = ["COMPRESSORS", "FILTERS", "CheckedStore"]

COMPRESSORS = ("blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma")
"""What is decoded without running anything; numcodecs has pickle, too."""
FILTERS = ("delta", "shuffle", "fixedscaleoffset", "astype")
"""Codecs that make as many numbers of a chunk as it has, of up to eight times the size."""
_FILTER_GROWTH = 8
_DOCUMENTS = (".zarray", ".zattrs", ".zgroup", ".zmetadata")
_MAX_DOCUMENT_BYTES = 1 << 20
_PART_BYTES = 1 << 20
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_WINDOW = 16 + 15


class CheckedStore(zarr.storage.WrapperStore[Store]):
    """A directory or a ZIP file, read only.

    Parameters
    ----------
    path : Path
        The group.

    Attributes
    ----------
    arrays : dict of str to (int, int)
        For each folder that holds something: how many files beside documents are in or below it, and their bytes.

    Raises
    ------
    FormatError
        If something in the directory leads out of it, or is no file.
    CorruptDataError
        If a ZIP file has far too many members, or one that announces far more than is stored.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sizes: dict[str, int] = {}
        self._rooms: dict[str, tuple[str | None, int]] = {}
        if path.is_dir():
            check_folder(path)
            above = frozenset([os.path.realpath(path)])
            self.sizes = {file.relative_to(path).as_posix(): file.stat().st_size for file in _files(path, above)}
            super().__init__(zarr.storage.LocalStore(path, read_only=True))
            return
        with zipfile.ZipFile(require_few_members(path)) as archive:
            for info in archive.infolist():
                where = f"{path}: {info.filename!r:.100}"
                require_room(info.file_size, max(FREE_BYTES, RECORD_GROWTH * info.compress_size), where)
                self.sizes[info.filename] = info.file_size
        super().__init__(zarr.storage.ZipStore(path, mode="r", read_only=True))

    def with_room(self, array: str, compressor: str | None, chunk_bytes: int, *, filtered: bool) -> None:
        """Say what a chunk of an array is stored with and how large it may become, before any is read."""
        self._rooms[array] = (compressor, chunk_bytes * (_FILTER_GROWTH if filtered else 1))

    def chunks_of(self, array: str) -> list[int]:
        """Return the sizes of the chunks of an array that are there, in bytes."""
        return [
            size
            for name, size in self.sizes.items()
            if name.startswith(f"{array}/") and not name.rpartition("/")[2].startswith(".")
        ]

    @property
    def num_bytes(self) -> int:
        """Size of all files."""
        return sum(self.sizes.values())

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return a document or a chunk; see `zarr.abc.store.Store`."""
        where = f"{self.path}: {key!r:.100}"
        name = key.rpartition("/")[2]
        if name in _DOCUMENTS and self.sizes.get(key, 0) > _MAX_DOCUMENT_BYTES:
            raise CorruptDataError(f"{where}: expected a document of at most {_MAX_DOCUMENT_BYTES:,} bytes")
        found = await self._store.get(key, prototype, byte_range)
        if found is None:
            return None
        if name in _DOCUMENTS:
            parse_json(found.to_bytes(), where)
        for array, (compressor, room) in self._rooms.items():
            if key.startswith(f"{array}/") and name not in _DOCUMENTS and compressor is not None:
                _check_chunk(found.to_bytes(), compressor, room, where)
        return found


def _files(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    """Yield the files below a folder, also through links, but for those that lead back to a folder in `above`."""
    for child in folder.iterdir():
        if child.is_file():
            yield child
        elif child.is_dir() and (real := os.path.realpath(child)) not in above:
            yield from _files(child, above | {real})


def _check_chunk(data: bytes, compressor: str, room: int, where: str) -> None:
    size = _SIZES[compressor](data, room)
    if size > room:
        raise CorruptDataError(
            f"{where}: the chunk becomes {size:,} bytes or more, and the array has room for {room:,}"
        )


def _blosc_size(data: bytes, room: int) -> int:
    return int(struct.unpack_from("<I", data, 4)[0]) if len(data) >= 16 else 0


def _lz4_size(data: bytes, room: int) -> int:
    return int(struct.unpack_from("<I", data)[0]) if len(data) >= 4 else 0


def _zstd_size(data: bytes, room: int) -> int:
    """Return the size in a frame's header (RFC 8878, 3.1.1.1), or by decompressing where it has none."""
    if not data.startswith(_ZSTD_MAGIC) or len(data) < 18:
        return 0
    flags = data[4]
    is_single = bool(flags >> 5 & 1)
    position = 5 + (not is_single) + (0, 1, 2, 4)[flags & 3]
    width = (int(is_single), 2, 4, 8)[flags >> 6]
    if width:
        return int.from_bytes(data[position : position + width], "little") + (256 if width == 2 else 0)
    import zstandard

    reader = zstandard.ZstdDecompressor().stream_reader(data)
    try:
        return _counted(lambda: reader.read(_PART_BYTES), room)
    except zstandard.ZstdError:
        return 0


def _counted(read: Callable[[], bytes], room: int) -> int:
    size = 0
    while size <= room and (part := read()):
        size += len(part)
    return size


def _streamed_size(make: Callable[[], Any]) -> Callable[[bytes, int], int]:
    """Return what counts the bytes that a stream becomes, without holding them; the codec finds out what is damaged."""

    def size(data: bytes, room: int) -> int:
        inflater = make()

        def read() -> bytes:
            nonlocal data
            if getattr(inflater, "eof", False):
                return b""
            part: bytes = inflater.decompress(data, _PART_BYTES)
            data = getattr(inflater, "unconsumed_tail", b"")
            return part

        try:
            return _counted(read, room)
        except (OSError, EOFError, zlib.error, lzma.LZMAError):
            return 0

    return size


_SIZES: dict[str, Callable[[bytes, int], int]] = {
    "blosc": _blosc_size,
    "lz4": _lz4_size,
    "zstd": _zstd_size,
    "zlib": _streamed_size(zlib.decompressobj),
    "gzip": _streamed_size(lambda: zlib.decompressobj(_GZIP_WINDOW)),
    "bz2": _streamed_size(bz2.BZ2Decompressor),
    "lzma": _streamed_size(lzma.LZMADecompressor),
}
