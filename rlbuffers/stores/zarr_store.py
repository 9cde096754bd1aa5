"""Zarr v3 buffers: many small chunks in few files, through Zarr's sharding codec.

zarr-python writes the metadata documents; the shards, whose layout is a short page of the Zarr
specification, are written and read here, because one transition is one chunk and zarr-python
spends a millisecond on each. A buffer is a directory that any Zarr v3 library opens.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google_crc32c import value as crc32c

from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.schema import FRAMES
from rlbuffers.stores.base import ChunkTable, StoredArray, StoreReader, StoreWriter, View
from rlbuffers.stores.codecs import Codec, ZstdCodec

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

    def finish(self, lengths: Mapping[str, int], metadata: str, views: Sequence[View]) -> None:
        """See base class; Zarr has no views, docs/format.md gives the one-line recipe instead."""
        import zarr
        from zarr.codecs import Crc32cCodec
        from zarr.codecs import ZstdCodec as ZarrZstd

        root = zarr.create_group(self._path, zarr_format=3, attributes={_ATTRIBUTE: json.loads(metadata)})
        for name, array in self._arrays.items():
            array.flush()
            root.create_array(
                name,
                shape=(lengths[name], *array.row_shape),
                dtype=array.dtype,
                chunks=(array.chunk_rows, *array.row_shape),
                shards=(array.chunk_rows * array.chunks_per_shard, *array.row_shape),
                compressors=[ZarrZstd(level=1), Crc32cCodec()],
                fill_value=0,
            )

    def abort(self) -> None:
        """See base class."""
        self._arrays.clear()


class ZarrReader(StoreReader):
    """Reads the metadata documents and shard indices itself; shards are mapped when first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._maps: dict[Path, mmap.mmap] = {}
        root = _document(path / "zarr.json")
        if root.get("zarr_format") != 3 or root.get("node_type") != "group":
            raise FormatError(f"{path}: not the root group of a Zarr v3 store")
        attributes = root.get("attributes")
        if not isinstance(attributes, dict) or _ATTRIBUTE not in attributes:
            raise FormatError(f"{path}: a Zarr store, but not an rlbuffers buffer; `rlbuffers convert` makes one")
        self.metadata = json.dumps(attributes[_ATTRIBUTE])
        self.arrays = {}
        self._chunks_per_shard: dict[str, int] = {}
        for document in sorted(path.rglob("zarr.json")):
            described = _document(document)
            if described.get("node_type") == "array":
                name = document.parent.relative_to(path).as_posix()
                self.arrays[name], self._chunks_per_shard[name] = _stored_array(name, described, document)

    @classmethod
    def open(cls, path: Path) -> ZarrReader:
        """See base class."""
        return cls(path)

    def chunk_table(self, name: str) -> ChunkTable:
        """See base class."""
        array = self.arrays[name]
        per_shard = self._chunks_per_shard[name]
        rest = ["0"] * (len(array.shape) - 1)
        regions, names, indices = [], [], []
        for shard in range(-(-array.num_chunks // per_shard)):
            path = self._path.joinpath(name, "c", str(shard), *rest)
            region = memoryview(self._mapped(path))
            indices.append(_shard_index(region, per_shard, path))
            regions.append(region)
            names.append(str(path))
        index = np.concatenate(indices)[: array.num_chunks] if indices else np.zeros((0, 2), np.uint64)
        region_of = np.arange(array.num_chunks, dtype=np.int64) // per_shard
        limits = np.array([len(region) for region in regions], dtype=np.uint64)
        limits = limits[region_of] if len(limits) else limits
        outside = (index[:, 0] > limits) | (index[:, 1] > limits - np.minimum(index[:, 0], limits))
        if outside.any():
            raise CorruptDataError(f"{self._path}: array {name!r}: chunk {int(outside.argmax())} is missing")
        return ChunkTable(
            regions=regions,
            region_of=region_of,
            offsets=index[:, 0].astype(np.int64),
            sizes=index[:, 1].astype(np.int64),
            region_names=names,
        )

    def _mapped(self, path: Path) -> mmap.mmap:
        if path not in self._maps:
            try:
                with path.open("rb") as file:
                    self._maps[path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:
                raise CorruptDataError(f"{path}: this shard is missing, empty or unreadable ({error})") from error
        return self._maps[path]

    def read_view(self, name: str, row: int) -> None:
        """See base class; a Zarr store has no views."""

    def disk_bytes(self) -> int:
        """See base class."""
        return sum(path.stat().st_size for path in self._path.rglob("*") if path.is_file())

    def close(self) -> None:
        """See base class; chunk tables that are still in use keep their maps alive."""
        for path in list(self._maps):
            try:
                self._maps.pop(path).close()
            except BufferError:
                continue


def _shard_index(region: memoryview, num_chunks: int, path: Path) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Read the (offset, size) pairs at the end of a shard."""
    size = num_chunks * _INDEX_ENTRY_BYTES
    if len(region) < size + _CRC_BYTES:
        raise CorruptDataError(f"{path}: a shard of {len(region)} bytes is shorter than its index; it was cut short")
    encoded = bytes(region[-size - _CRC_BYTES : -_CRC_BYTES])
    if crc32c(encoded) != int.from_bytes(region[-_CRC_BYTES:], "little"):
        raise CorruptDataError(f"{path}: the CRC-32C of the shard's index does not fit; the file is damaged")
    return np.frombuffer(encoded, "<u8").reshape(-1, 2)


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CorruptDataError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(document, dict):
        raise CorruptDataError(f"{path}: expected a JSON object")
    return document


def _stored_array(name: str, described: Mapping[str, Any], document: Path) -> tuple[StoredArray, int]:
    """Return the array and its number of chunks a shard."""
    try:
        shape = tuple(int(size) for size in described["shape"])
        shard_shape = described["chunk_grid"]["configuration"]["chunk_shape"]
        (sharding,) = described["codecs"]
        chunk_shape = sharding["configuration"]["chunk_shape"]
        inner = [codec["name"] for codec in sharding["configuration"]["codecs"]]
        array = StoredArray(name, np.dtype(described["data_type"]), shape, int(chunk_shape[0]), ZstdCodec())
        fits = (
            sharding["name"] == "sharding_indexed"
            and inner == ["bytes", "zstd", "crc32c"]
            and sharding["configuration"].get("index_location", "end") == "end"
            and array.chunk_rows > 0
            and tuple(chunk_shape[1:]) == shape[1:] == tuple(shard_shape[1:])
            and shard_shape[0] % array.chunk_rows == 0
            and 0 < shard_shape[0] // array.chunk_rows <= _MAX_CHUNKS_PER_SHARD
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptDataError(f"{document}: not the description of an array ({error!r})") from error
    if not fits or array.chunk_bytes > _MAX_CHUNK_BYTES:
        raise FormatError(f"{document}: expected shards of zstd + crc32c chunks of whole rows")
    return array, shard_shape[0] // array.chunk_rows
