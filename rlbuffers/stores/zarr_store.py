"""Zarr v3 buffers: many small chunks in few files, through Zarr's sharding codec.

Documents and shards are written and read here, by the Zarr v3 specification: one transition is one
chunk, and zarr-python spends a millisecond on each. A buffer is a directory that any Zarr v3 library
opens. No checksum covers the documents of the arrays, so all in them that reading depends on is checked
(``zarr_documents.py``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from google_crc32c import value as crc32c

from rlbuffers.errors import CorruptDataError, FormatError, RlbuffersError
from rlbuffers.json_documents import parsed_json
from rlbuffers.paths import Url
from rlbuffers.schema import FRAMES
from rlbuffers.stores.base import StoredArray, StoreReader, StoreWriter, View
from rlbuffers.stores.chunk_table import Array, ChunkFiles, ChunkTable
from rlbuffers.stores.codecs import Codec, ZstdCodec, image_bytes_of
from rlbuffers.stores.folders import DOCUMENT as _DOCUMENT
from rlbuffers.stores.folders import Folder, LocalFolder, ZipFolder
from rlbuffers.stores.local_files import LocalFiles, OpenFile
from rlbuffers.stores.zarr_documents import array_document, group_document, is_group, parsed_array
from rlbuffers.stores.zarr_sinks import FolderSink, Sink, ZipSink

__all__ = ["ZarrReader", "ZarrWriter", "ZarrZipReader", "ZarrZipWriter", "shard_name"]

_ATTRIBUTE = "rlbuffers"
# Frames come in chunks of a few hundred bytes; other arrays in chunks of tens of kilobytes.
_FRAME_CHUNKS_PER_SHARD = 32768
_CHUNKS_PER_SHARD = 64
_MAX_CHUNKS_PER_SHARD = 1 << 20
_INDEX_ENTRY_BYTES = 16
# Images decode in two thirds of the time that level 1 takes, for 4 to 17% more bytes (docs/benchmarks.md).
_IMAGE_LEVEL = -1
_CRC_BYTES = 4
_MAX_CHUNK_BYTES = 1 << 30
_MISSING = np.iinfo(np.uint64).max
# A list of so many names costs nothing.
_MAX_MISSING_SHARDS = 4096
# Where shards cannot be counted; of frames and vectors of some terabytes.
_MAX_REMOTE_SHARDS = 1 << 20


class _ShardedArray:
    """An array being written: chunks go to the sink as they come, and a killed writer leaves them in a directory."""

    def __init__(
        self, name: str, sink: Sink, dtype: np.dtype[Any], row_shape: tuple[int, ...], chunk_rows: int
    ) -> None:
        self.dtype = dtype
        self.row_shape = row_shape
        self.chunk_rows = chunk_rows
        self.level = ZstdCodec().level
        self.chunks_per_shard = _FRAME_CHUNKS_PER_SHARD if name == FRAMES else _CHUNKS_PER_SHARD
        self.sizes: list[int] = []
        self._starts: list[int] = []  # of complete shards, in the files that hold them
        self._name = name
        self._sink = sink

    def append(self, chunks: Sequence[bytes]) -> None:
        while chunks:
            number, present = divmod(len(self.sizes), self.chunks_per_shard)
            fitting = chunks[: self.chunks_per_shard - present]
            self._sink.append(shard_name(self._name, number, self.row_shape), fitting)
            self.sizes += [len(chunk) for chunk in fitting]
            if len(self.sizes) % self.chunks_per_shard == 0:
                self._complete(number)
            chunks = chunks[len(fitting) :]

    def places(self) -> tuple[Array, Array]:
        """Return (offsets, sizes) of the chunks that are in their files so far."""
        complete = len(self._starts) * self.chunks_per_shard
        sizes = np.array(self.sizes[:complete] if self._sink.holds_back else self.sizes, np.int64)
        begins = np.cumsum(sizes) - sizes
        shards = np.arange(len(sizes)) // self.chunks_per_shard
        starts = np.array([*self._starts, 0], np.int64)
        return begins - begins[shards * self.chunks_per_shard] + starts[shards], sizes

    def finish(self) -> None:
        """Complete the last shard, if it is not full; an only one is cut to its chunks, and so is its index."""
        if 0 < len(self.sizes) < self.chunks_per_shard:
            self.chunks_per_shard = len(self.sizes)
            self._complete(0)
        elif len(self.sizes) % self.chunks_per_shard:
            self._complete(len(self.sizes) // self.chunks_per_shard)

    def _complete(self, shard: int) -> None:
        """Add the index of a shard and its checksum."""
        sizes = np.array(self.sizes[shard * self.chunks_per_shard :], np.uint64)
        index = np.full((self.chunks_per_shard, 2), _MISSING, dtype="<u8")
        index[: len(sizes), 0] = np.cumsum(sizes) - sizes
        index[: len(sizes), 1] = sizes
        encoded = index.tobytes()
        name = shard_name(self._name, shard, self.row_shape)
        self._sink.append(name, [encoded, crc32c(encoded).to_bytes(_CRC_BYTES, "little")])
        self._starts.append(self._sink.complete(name))


class ZarrWriter(StoreWriter):
    """Writes documents and shards into a directory."""

    def __init__(self, path: Path) -> None:
        self._sink = self._open_sink(path)
        self._arrays: dict[str, _ShardedArray] = {}

    @staticmethod
    def _open_sink(path: Path) -> Sink:
        return FolderSink(path)

    def create_array(self, name: str, dtype: np.dtype[Any], row_shape: tuple[int, ...], chunk_rows: int) -> Codec:
        """See base class."""
        self._arrays[name] = _ShardedArray(name, self._sink, dtype, row_shape, chunk_rows)
        return ZstdCodec(_IMAGE_LEVEL) if image_bytes_of(dtype, row_shape) else ZstdCodec()

    def use_codec(self, name: str, codec: Codec) -> None:
        """See base class."""
        if isinstance(codec, ZstdCodec):
            self._arrays[name].level = codec.level

    def write_chunks(self, name: str, chunks: Sequence[bytes]) -> None:
        """See base class."""
        self._arrays[name].append(chunks)

    def written(self, name: str) -> tuple[Array, Array]:
        """See base class."""
        return self._arrays[name].places()

    def chunks_per_file(self, name: str) -> int:
        """See base class."""
        return self._arrays[name].chunks_per_shard

    def finish(self, lengths: Mapping[str, int], metadata: str, views: Sequence[View]) -> None:
        """See base class; Zarr has no views, docs/format.md gives the one-line recipe instead."""
        groups = set()
        for name, array in self._arrays.items():
            array.finish()
            shape = (lengths[name], *array.row_shape)
            document = array_document(shape, array.dtype, array.chunk_rows, array.chunks_per_shard, array.level)
            self._add_document(name, document)
            groups |= {parent.as_posix() for parent in Path(name).parents if parent.name}
        for group in sorted(groups):
            self._add_document(group, group_document({}))
        self._add_document("", group_document({_ATTRIBUTE: json.loads(metadata)}))
        self._sink.close()

    def _add_document(self, folder: str, document: Mapping[str, Any]) -> None:
        text = json.dumps(document, indent=2, ensure_ascii=False)
        name = f"{folder}/{_DOCUMENT}".removeprefix("/")
        self._sink.append(name, [text.encode()])
        self._sink.complete(name)

    def abort(self) -> None:
        """See base class."""
        self._arrays.clear()
        self._sink.abort()


class ZarrZipWriter(ZarrWriter):
    """Writes documents and shards into one ZIP file."""

    @staticmethod
    def _open_sink(path: Path) -> Sink:
        return ZipSink(path)


class ZarrReader(StoreReader):
    """Reads the metadata documents itself; a shard is opened, and its index read, when a chunk of it is wanted."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        root = self._document(_DOCUMENT)
        if not is_group(root):
            raise FormatError(f"{folder.root}: not the root group of a Zarr v3 store")
        attributes = root.get("attributes")
        if not isinstance(attributes, dict) or not isinstance(attributes.get(_ATTRIBUTE), dict):
            raise FormatError(
                f"{folder.root}: a Zarr store, but not an rlbuffers buffer; `rlbuffers convert` makes one"
            )
        self.metadata = json.dumps(attributes[_ATTRIBUTE])
        self.arrays = {}
        self._chunks_per_shard: dict[str, int] = {}
        stated = attributes[_ATTRIBUTE].get("arrays")
        for document in folder.documents(stated if isinstance(stated, dict) else ()):
            described, place = self._document(document), folder.name_of(document)
            if described.get("node_type") == "array":
                name = document.removesuffix(f"/{_DOCUMENT}")
                self.arrays[name], self._chunks_per_shard[name] = _stored_array(name, described, place)
                self._require_shards(name)
            elif not is_group(described):
                raise CorruptDataError(f"{place}: not the description of an array or a group")

    @classmethod
    def open(cls, path: Path | Url) -> ZarrReader:
        """See base class."""
        if not isinstance(path, Url):
            return cls(LocalFolder(path))
        from rlbuffers.stores.remote import RemoteFolder

        return cls(RemoteFolder(path))

    def _document(self, name: str) -> dict[str, Any]:
        try:
            document = parsed_json(self._folder.read(name))
        except ValueError as error:
            if isinstance(error, RlbuffersError):
                raise
            raise CorruptDataError(f"{self._folder.name_of(name)}: cannot be read as JSON ({error})") from error
        if not isinstance(document, dict):
            raise CorruptDataError(f"{self._folder.name_of(name)}: expected a JSON object")
        return document

    def chunk_table(self, name: str) -> ChunkTable:
        """See base class."""
        array, per_shard = self.arrays[name], self._chunks_per_shard[name]
        files = self._folder.files(self._shards(name))
        load = partial(_shard_index, files, per_shard)
        return ChunkTable(name, array.num_chunks, files, load, per_shard, files_are_pieces=True)

    def _require_shards(self, name: str) -> None:
        """Hold the number of shards that an array claims against those that are there.

        Some may be missing, which is said when they are read.
        """
        claimed = -(-self.arrays[name].num_chunks // self._chunks_per_shard[name])
        if claimed <= _MAX_MISSING_SHARDS:
            return
        found = self._folder.count_below(f"{name}/c")
        most = _MAX_REMOTE_SHARDS if found is None else _MAX_MISSING_SHARDS + 16 * found
        if claimed > most:
            there = "" if found is None else f", but {found:,} are there"
            raise CorruptDataError(f"{self._folder.name_of(name)}: the array claims {claimed:,} shards{there}")

    def _shards(self, name: str) -> list[str]:
        array = self.arrays[name]
        count = -(-array.num_chunks // self._chunks_per_shard[name])
        return [shard_name(name, shard, array.shape[1:]) for shard in range(count)]

    def stored_bytes(self, name: str) -> int:
        """See base class; a shard that is missing is told when it is read."""
        return self._folder.stored_bytes(self._shards(name))

    def problems(self) -> Iterator[str]:
        """See base class; without a group's document other libraries do not find what is in the group."""
        yield from self._folder.problems()
        needed = {parent.as_posix() for name in self.arrays for parent in PurePosixPath(name).parents if parent.name}
        for group in sorted(needed):
            try:
                self._document(f"{group}/{_DOCUMENT}")
            except CorruptDataError as error:
                yield str(error)

    def read_view(self, name: str, rows: Sequence[int]) -> None:
        """See base class; a Zarr store has no views."""

    def disk_bytes(self) -> int:
        """See base class."""
        return self._folder.disk_bytes(shard for name in self.arrays for shard in self._shards(name))

    def close(self) -> None:
        """See base class; shards are closed when the last chunk table is dropped."""


class ZarrZipReader(ZarrReader):
    """Reads a Zarr buffer whose files are the members of one ZIP file."""

    @classmethod
    def open(cls, path: Path | Url) -> ZarrZipReader:
        """See base class."""
        if not isinstance(path, Url):
            return cls(ZipFolder(OpenFile(path), LocalFiles([path])))
        from rlbuffers.stores.remote import RemoteFile

        file = RemoteFile(path)
        return cls(ZipFolder(file, file.as_files()))


def shard_name(array: str, shard: int, row_shape: Sequence[int]) -> str:
    """Return the name of a shard below the root of a buffer."""
    return "/".join([array, "c", str(shard), *["0"] * len(row_shape)])


def _shard_index(files: ChunkFiles, num_chunks: int, shard: int) -> tuple[Array, Array]:
    """Read the (offsets, sizes) at the end of a shard."""
    length, whole = num_chunks * _INDEX_ENTRY_BYTES + _CRC_BYTES, files.size(shard)
    if whole < length:
        raise CorruptDataError(
            f"{files.name(shard)}: a shard of {whole} bytes is shorter than its index; it was cut short"
        )
    (content,) = files.read(np.array([shard]), np.array([whole - length]), np.array([length]))
    encoded = bytes(content[:-_CRC_BYTES])
    if crc32c(encoded) != int.from_bytes(content[-_CRC_BYTES:], "little"):
        raise CorruptDataError(f"{files.name(shard)}: the CRC-32C of the shard's index does not fit; it is damaged")
    entries = np.frombuffer(encoded, "<u8").reshape(-1, 2)
    return entries[:, 0], entries[:, 1]


def _stored_array(name: str, described: Mapping[str, Any], document: str) -> tuple[StoredArray, int]:
    """Return the array and its number of chunks a shard."""
    try:
        found = parsed_array(described)
    except ValueError as error:
        raise CorruptDataError(f"{document}: damaged or edited by hand; {error}") from error
    array = StoredArray(name, np.dtype(found.data_type), found.shape, found.chunk_rows, ZstdCodec())
    if found.chunks_per_shard > _MAX_CHUNKS_PER_SHARD or array.chunk_bytes > _MAX_CHUNK_BYTES:
        raise FormatError(
            f"{document}: chunks of {array.chunk_bytes:,} bytes, {found.chunks_per_shard:,} a shard, are too large"
        )
    return array, found.chunks_per_shard
