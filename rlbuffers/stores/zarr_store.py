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

from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.schema import FRAMES
from rlbuffers.stores.base import StoredArray, StoreReader, StoreWriter, View
from rlbuffers.stores.chunk_table import Array, ChunkFiles, ChunkTable
from rlbuffers.stores.codecs import Codec, ZstdCodec
from rlbuffers.stores.local_files import LocalFiles

__all__ = ["ZarrReader", "ZarrWriter"]

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

    def __init__(self, root: Path, dtype: np.dtype[Any], row_shape: tuple[int, ...], chunk_rows: int) -> None:
        self.dtype = dtype
        self.row_shape = row_shape
        self.chunk_rows = chunk_rows
        self.chunks_per_shard = _FRAME_CHUNKS_PER_SHARD if root.name == FRAMES else _CHUNKS_PER_SHARD
        self._root = root
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
        self.offsets.append(index[: len(sizes), 0].astype(np.int64))
        self.sizes.append(sizes.astype(np.int64))
        encoded = index.tobytes()
        path = self._root.joinpath("c", str(self._shards), *["0"] * len(self.row_shape))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.writelines(self._chunks)
            file.write(encoded)
            file.write(crc32c(encoded).to_bytes(_CRC_BYTES, "little"))
        self._shards += 1
        self._chunks.clear()


class ZarrWriter(StoreWriter):
    """Writes shards directly and the metadata documents through zarr-python."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self._path = path
        self._arrays: dict[str, _ShardedArray] = {}

    def create_array(self, name: str, dtype: np.dtype[Any], row_shape: tuple[int, ...], chunk_rows: int) -> Codec:
        """See base class."""
        self._arrays[name] = _ShardedArray(self._path / name, dtype, row_shape, chunk_rows)
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
        for name, array in self._arrays.items():
            array.flush()
            shape = (lengths[name], *array.row_shape)
            document = _array_document(shape, array.dtype, array.chunk_rows, array.chunks_per_shard)
            _write_document(self._path / name, document)
            for folder in Path(name).parents:
                _write_document(self._path / folder, _group_document({}))
        _write_document(self._path, _group_document({_ATTRIBUTE: json.loads(metadata)}))

    def abort(self) -> None:
        """See base class."""
        self._arrays.clear()


class ZarrReader(StoreReader):
    """Reads the metadata documents itself; a shard is opened, and its index read, when a chunk of it is wanted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        root = _document(path / "zarr.json")
        if root.get("zarr_format") != 3 or root.get("node_type") != "group":
            raise FormatError(f"{path}: not the root group of a Zarr v3 store")
        attributes = root.get("attributes")
        if not isinstance(attributes, dict) or _ATTRIBUTE not in attributes:
            raise FormatError(f"{path}: a Zarr store, but not an rlbuffers buffer; `rlbuffers convert` makes one")
        self.metadata = json.dumps(attributes[_ATTRIBUTE])
        self.arrays = {}
        self._chunks_per_shard: dict[str, int] = {}
        for document in sorted(_documents_below(path)):
            described = _document(document)
            if described.get("node_type") == "array":
                name = document.parent.relative_to(path).as_posix()
                self.arrays[name], self._chunks_per_shard[name] = _stored_array(name, described, document)
            elif described != _group_document({}):
                raise CorruptDataError(f"{document}: not the description of an array or a group")

    @classmethod
    def open(cls, path: Path) -> ZarrReader:
        """See base class."""
        return cls(path)

    def chunk_table(self, name: str) -> ChunkTable:
        """See base class."""
        array, per_shard = self.arrays[name], self._chunks_per_shard[name]
        files = LocalFiles(self._shards(name), "shard")
        load = partial(_shard_index, files, per_shard)
        return ChunkTable(name, array.num_chunks, files, load, per_shard, files_are_pieces=True)

    def _shards(self, name: str) -> list[Path]:
        array = self.arrays[name]
        rest = ["0"] * (len(array.shape) - 1)
        count = -(-array.num_chunks // self._chunks_per_shard[name])
        return [self._path.joinpath(name, "c", str(shard), *rest) for shard in range(count)]

    def stored_bytes(self, name: str) -> int:
        """See base class; a shard that is missing is told when it is read."""
        return sum(path.stat().st_size for path in self._shards(name) if path.exists())

    def read_view(self, name: str, rows: Sequence[int]) -> None:
        """See base class; a Zarr store has no views."""

    def disk_bytes(self) -> int:
        """See base class."""
        return sum(path.stat().st_size for path in self._path.rglob("*") if path.is_file())

    def close(self) -> None:
        """See base class; shards are closed when the last chunk table is dropped."""


def _documents_below(folder: Path) -> Iterator[Path]:
    """Yield the documents of groups and arrays, without a look into the folders of the arrays' shards."""
    for child in folder.iterdir():
        if child.is_dir():
            document = child / "zarr.json"
            has_document = document.exists()
            if has_document:
                yield document
            if not (has_document and (child / "c").is_dir()):
                yield from _documents_below(child)


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


def _write_document(folder: Path, document: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "zarr.json").write_text(json.dumps(document, indent=2, ensure_ascii=False), encoding="utf-8")


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptDataError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(document, dict):
        raise CorruptDataError(f"{path}: expected a JSON object")
    return document


def _stored_array(name: str, described: Mapping[str, Any], document: Path) -> tuple[StoredArray, int]:
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
