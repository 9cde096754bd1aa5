"""Zarr v3 buffers: many small chunks in few files, through Zarr's sharding codec.

Documents and shards are written and read here, by the Zarr v3 specification: one transition is one
chunk, and zarr-python spends a millisecond on each. A buffer is a directory that any Zarr v3 library
opens. No checksum covers the documents of the arrays, so they must say exactly what is written here:
anything else might be read in another way by another library.
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
from rlbuffers.paths import Url
from rlbuffers.schema import FRAMES
from rlbuffers.stores.base import StoredArray, StoreReader, StoreWriter, View
from rlbuffers.stores.chunk_table import Array, ChunkFiles, ChunkTable
from rlbuffers.stores.codecs import Codec, ZstdCodec, image_bytes_of
from rlbuffers.stores.folders import DOCUMENT as _DOCUMENT
from rlbuffers.stores.folders import Folder, LocalFolder, ZipFolder
from rlbuffers.stores.local_files import LocalFiles, OpenFile
from rlbuffers.stores.zarr_sinks import FolderSink, Sink, ZipSink

__all__ = ["ZarrReader", "ZarrWriter", "ZarrZipReader", "ZarrZipWriter"]

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


class _ShardedArray:
    """An array being written: chunks go to the sink as they come, and a killed writer leaves them in a directory."""

    def __init__(
        self, name: str, sink: Sink, dtype: np.dtype[Any], row_shape: tuple[int, ...], chunk_rows: int
    ) -> None:
        self.dtype = dtype
        self.row_shape = row_shape
        self.chunk_rows = chunk_rows
        self.chunks_per_shard = _FRAME_CHUNKS_PER_SHARD if name == FRAMES else _CHUNKS_PER_SHARD
        self.sizes: list[int] = []
        self._starts: list[int] = []  # of complete shards, in the files that hold them
        self._name = name
        self._sink = sink

    def append(self, chunks: Sequence[bytes]) -> None:
        while chunks:
            number, present = divmod(len(self.sizes), self.chunks_per_shard)
            fitting = chunks[: self.chunks_per_shard - present]
            self._sink.append(_shard_name(self._name, number, self.row_shape), fitting)
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
        name = _shard_name(self._name, shard, self.row_shape)
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
            self._add_document(name, _array_document(shape, array.dtype, array.chunk_rows, array.chunks_per_shard))
            groups |= {parent.as_posix() for parent in Path(name).parents if parent.name}
        for group in sorted(groups):
            self._add_document(group, _group_document({}))
        self._add_document("", _group_document({_ATTRIBUTE: json.loads(metadata)}))
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
        if root.get("zarr_format") != 3 or root.get("node_type") != "group":
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
            elif described != _group_document({}):
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
            document = json.loads(self._folder.read(name))
        except (ValueError, RecursionError) as error:
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

    def _shards(self, name: str) -> list[str]:
        array = self.arrays[name]
        count = -(-array.num_chunks // self._chunks_per_shard[name])
        return [_shard_name(name, shard, array.shape[1:]) for shard in range(count)]

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


def _shard_name(array: str, shard: int, row_shape: Sequence[int]) -> str:
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


def _group_document(attributes: dict[str, Any]) -> dict[str, Any]:
    return {"attributes": attributes, "zarr_format": 3, "node_type": "group"}


def _array_document(
    shape: tuple[int, ...], dtype: np.dtype[Any], chunk_rows: int, chunks_per_shard: int
) -> dict[str, Any]:
    """Describe an array as the Zarr v3 specification says and zarr-python writes it."""
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    inner = [
        little if dtype.itemsize > 1 else {"name": "bytes"},
        {"name": "zstd", "configuration": {"level": ZstdCodec().level, "checksum": False}},
        {"name": "crc32c"},
    ]
    sharding = {
        "chunk_shape": [chunk_rows, *shape[1:]],
        "codecs": inner,
        "index_codecs": [little, {"name": "crc32c"}],
        "index_location": "end",
    }
    grid = {"chunk_shape": [chunk_rows * chunks_per_shard, *shape[1:]]}
    return {
        "shape": list(shape),
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": grid},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": dtype.type(0).item(),
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "attributes": {},
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }


def _stored_array(name: str, described: Mapping[str, Any], document: str) -> tuple[StoredArray, int]:
    """Return the array and its number of chunks a shard."""
    try:
        shape = tuple(described["shape"])
        (shard_rows, *_) = described["chunk_grid"]["configuration"]["chunk_shape"]
        (chunk_rows, *_) = described["codecs"][0]["configuration"]["chunk_shape"]
        if not all(type(size) is int and size >= 0 for size in (*shape, shard_rows, chunk_rows)):
            raise ValueError("a size is no whole number")
        per_shard = shard_rows // chunk_rows
        dtype = np.dtype(described["data_type"])
        expected = _array_document(shape, dtype, chunk_rows, per_shard)
    except (ArithmeticError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise CorruptDataError(f"{document}: not the description of an array ({error!r})") from error
    # As texts: 1, 1.0 and true are equal as values, but not to every reader.
    if json.dumps(described, sort_keys=True) != json.dumps(expected, sort_keys=True):
        wrong = sorted(key for key in {*described, *expected} if described.get(key) != expected.get(key))
        raise CorruptDataError(f"{document}: damaged or edited by hand; unexpected {', '.join(wrong) or 'numbers'}")
    array = StoredArray(name, dtype, shape, chunk_rows, ZstdCodec())
    if per_shard > _MAX_CHUNKS_PER_SHARD or array.chunk_bytes > _MAX_CHUNK_BYTES:
        raise FormatError(f"{document}: chunks of {array.chunk_bytes:,} bytes, {per_shard:,} a shard, are too large")
    return array, per_shard
