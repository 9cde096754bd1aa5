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
from pathlib import Path
from typing import Any

import numpy as np
from google_crc32c import value as crc32c

from rlbuffers.errors import CorruptDataError, FormatError, RlbuffersError
from rlbuffers.paths import Url
from rlbuffers.schema import FRAMES
from rlbuffers.stores.base import StoredArray, StoreReader, StoreWriter, View
from rlbuffers.stores.chunk_table import Array, ChunkFiles, ChunkTable
from rlbuffers.stores.codecs import Codec, ZstdCodec
from rlbuffers.stores.folders import DOCUMENT as _DOCUMENT
from rlbuffers.stores.folders import Folder, LocalFolder, ZipFolder
from rlbuffers.stores.local_files import LocalFiles, OpenFile
from rlbuffers.stores.zarr_sinks import FolderSink, Sink, ZipSink

__all__ = ["ZarrReader", "ZarrWriter", "ZarrZipReader", "ZarrZipWriter"]

_ATTRIBUTE = "rlbuffers"
# Frames come in chunks of a few hundred bytes; other arrays in chunks of tens of kilobytes.
_FRAME_CHUNKS_PER_SHARD = 8192
_CHUNKS_PER_SHARD = 64
_MAX_CHUNKS_PER_SHARD = 1 << 20
_INDEX_ENTRY_BYTES = 16
_CRC_BYTES = 4
_MAX_CHUNK_BYTES = 1 << 30
_MISSING = np.iinfo(np.uint64).max


class _ShardedArray:
    """An array being written: its shards are appended one after the other."""

    def __init__(
        self, name: str, sink: Sink, dtype: np.dtype[Any], row_shape: tuple[int, ...], chunk_rows: int
    ) -> None:
        self.dtype = dtype
        self.row_shape = row_shape
        self.chunk_rows = chunk_rows
        self.chunks_per_shard = _FRAME_CHUNKS_PER_SHARD if name == FRAMES else _CHUNKS_PER_SHARD
        self._name = name
        self._sink = sink
        self._shards = 0
        self._chunks: list[bytes] = []
        self.offsets: list[Array] = []
        self.sizes: list[Array] = []

    def append(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        if len(self._chunks) == self.chunks_per_shard:
            self.flush()

    def flush(self) -> None:
        """Write the collected chunks as one shard: the chunks, their index, the index's checksum."""
        if not self._chunks:
            return
        index = np.full((self.chunks_per_shard, 2), _MISSING, dtype="<u8")
        sizes = np.array([len(chunk) for chunk in self._chunks], dtype=np.uint64)
        index[: len(sizes), 0] = np.cumsum(sizes) - sizes
        index[: len(sizes), 1] = sizes
        encoded = index.tobytes()
        parts = [*self._chunks, encoded, crc32c(encoded).to_bytes(_CRC_BYTES, "little")]
        start = self._sink.add(_shard_name(self._name, self._shards, self.row_shape), parts)
        self.offsets.append(start + index[: len(sizes), 0].astype(np.int64))
        self.sizes.append(sizes.astype(np.int64))
        self._shards += 1
        self._chunks.clear()


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
        return ZstdCodec()

    def write_chunks(self, name: str, chunks: Sequence[bytes]) -> None:
        """See base class."""
        for chunk in chunks:
            self._arrays[name].append(chunk)

    def written(self, name: str) -> tuple[Array, Array]:
        """See base class; the chunks of a shard are written together."""
        array, none = self._arrays[name], np.empty(0, np.int64)
        return np.concatenate([none, *array.offsets]), np.concatenate([none, *array.sizes])

    def finish(self, lengths: Mapping[str, int], metadata: str, views: Sequence[View]) -> None:
        """See base class; Zarr has no views, docs/format.md gives the one-line recipe instead."""
        groups = set()
        for name, array in self._arrays.items():
            array.flush()
            shape = (lengths[name], *array.row_shape)
            self._add_document(name, _array_document(shape, array.dtype, array.chunk_rows, array.chunks_per_shard))
            groups |= {parent.as_posix() for parent in Path(name).parents if parent.name}
        for group in sorted(groups):
            self._add_document(group, _group_document({}))
        self._add_document("", _group_document({_ATTRIBUTE: json.loads(metadata)}))
        self._sink.close()

    def _add_document(self, folder: str, document: Mapping[str, Any]) -> None:
        text = json.dumps(document, indent=2, ensure_ascii=False)
        self._sink.add(f"{folder}/{_DOCUMENT}".removeprefix("/"), [text.encode()])

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
        """See base class."""
        return self._folder.problems()

    def read_view(self, name: str, rows: Sequence[int]) -> None:
        """See base class; a Zarr store has no views."""

    def disk_bytes(self) -> int:
        """See base class."""
        return self._folder.disk_bytes()

    def close(self) -> None:
        """See base class; shards are closed when the last chunk table is dropped."""


class ZarrZipReader(ZarrReader):
    """Reads a Zarr buffer whose files are the members of one ZIP file."""

    @classmethod
    def open(cls, path: Path | Url) -> ZarrZipReader:
        """See base class."""
        if not isinstance(path, Url):
            return cls(ZipFolder(OpenFile(path), LocalFiles([path])))
        from rlbuffers.stores.remote import RemoteFile, RemoteFiles

        return cls(ZipFolder(RemoteFile(path), RemoteFiles(path, [path])))


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
