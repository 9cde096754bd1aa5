"""A Zarr group of version 2 that somebody else made: what is read of it, looked at before zarr-python decodes it.

Each chunk is held against what its array has room for, as stored and as it becomes, and each document against what
documents are.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zarr.storage
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype

from rlbuffers.decoding.chunk_sizes import require_chunk_fits
from rlbuffers.decoding.claims import FREE_BYTES, RECORD_GROWTH, require_room, stored_bytes
from rlbuffers.decoding.zip_directory import require_few_members
from rlbuffers.errors import CorruptDataError
from rlbuffers.local_inputs import check_folder
from rlbuffers.sources.json_text import parse_json

__all__ = ["FILTERS", "CheckedStore"]

FILTERS = ("delta", "shuffle", "fixedscaleoffset", "astype")
"""Codecs that make as many numbers of a chunk as it has, of up to eight times the size."""
_FILTER_GROWTH = 8
_DOCUMENTS = (".zarray", ".zattrs", ".zgroup", ".zmetadata")
_MAX_DOCUMENT_BYTES = 1 << 20
# What codecs add to numbers that they cannot shrink.
_LEAST_SHRINKING, _FREE_CHUNK_BYTES = 8, 1 << 16


class CheckedStore(zarr.storage.WrapperStore[Store]):
    """A directory or a ZIP file, read only.

    Parameters
    ----------
    path : Path
        The group.

    Attributes
    ----------
    sizes : dict of str to int
        Of each file, by its place in the group, in bytes.
    stored : dict of str to int
        The same, as stored: of sparse files and of members of a ZIP file fewer.

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
        self.stored: dict[str, int] = {}
        self._rooms: dict[str, tuple[Any, int]] = {}
        if path.is_dir():
            check_folder(path)
            for file in _files(path, frozenset([os.path.realpath(path)])):
                name = file.relative_to(path).as_posix()
                self.sizes[name], self.stored[name] = file.stat().st_size, stored_bytes(file)
            super().__init__(zarr.storage.LocalStore(path, read_only=True))
            return
        with zipfile.ZipFile(require_few_members(path)) as archive:
            for info in archive.infolist():
                where = f"{path}: {info.filename!r:.100}"
                require_room(info.file_size, max(FREE_BYTES, RECORD_GROWTH * info.compress_size), where)
                self.sizes[info.filename], self.stored[info.filename] = info.file_size, info.compress_size
        super().__init__(zarr.storage.ZipStore(path, mode="r", read_only=True))

    def with_room(self, array: str, compressor: Any, chunk_bytes: int, *, filtered: bool) -> None:
        """Say which codec of numcodecs (or None) a chunk of an array is stored with, and how many bytes it becomes."""
        self._rooms[array] = (compressor, chunk_bytes * (_FILTER_GROWTH if filtered else 1))

    def chunks_of(self, array: str) -> list[int]:
        """Return how many bytes are stored of each chunk of an array that is there."""
        return [
            size
            for name, size in self.stored.items()
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
        codec, room = next((kept for array, kept in self._rooms.items() if key.startswith(f"{array}/")), (None, None))
        most = None if room is None else room + room // _LEAST_SHRINKING + _FREE_CHUNK_BYTES
        if most is not None and name not in _DOCUMENTS and self.sizes.get(key, 0) > most:
            raise CorruptDataError(
                f"{where}: the chunk has {self.sizes[key]:,} bytes, and the array has room for {room:,}"
            )
        found = await self._store.get(key, prototype, byte_range)
        if found is None:
            return None
        if name in _DOCUMENTS:
            parse_json(found.to_bytes(), where)
        elif codec is not None and room is not None:
            require_chunk_fits(found.to_bytes(), codec, room, where)
        return found


def _files(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    """Yield the files below a folder, also through links, but for those that lead back to a folder in `above`."""
    for child in folder.iterdir():
        if child.is_file():
            yield child
        elif child.is_dir() and (real := os.path.realpath(child)) not in above:
            yield from _files(child, above | {real})
