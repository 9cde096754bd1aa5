"""The chunks of a damaged Zarr buffer: by the index of their shard, or found one after the other without it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from google_crc32c import value as crc32c

from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.json_documents import parsed_json
from rlbuffers.local_inputs import raise_shortage
from rlbuffers.repair.salvaged_array import ChunkPieces, SalvagedArray, missing_array
from rlbuffers.repair.stated_array import StatedArray
from rlbuffers.repair.zarr_files import ZarrFiles
from rlbuffers.schema import BufferSpec
from rlbuffers.stores.base import StoredArray
from rlbuffers.stores.chunking import chunk_rows
from rlbuffers.stores.codecs import ZstdCodec
from rlbuffers.stores.folders import DOCUMENT
from rlbuffers.stores.zarr_store import shard_name

__all__ = ["find_shards", "find_zarr_arrays", "read_zarr_metadata", "scanned_chunks"]

_ATTRIBUTE = "rlbuffers"
_INDEX_ENTRY_BYTES = 16
_CRC_BYTES = 4
_MAX_CHUNK_BYTES = 1 << 30
_MAX_CHUNKS_PER_SHARD = 1 << 20
_FED_BYTES = 1 << 16
_FRAME_HEADER_BYTES = 18
_Places = tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.int64]]]


def read_zarr_metadata(path: Path, files: ZarrFiles) -> str:
    """Return the metadata text.

    Raises
    ------
    CorruptDataError
        If the root document cannot be read.
    FormatError
        If the store is of another program.
    """
    try:
        root = parsed_json(files.document(DOCUMENT))
    except (OSError, ValueError) as error:
        raise_shortage(error, path / DOCUMENT)
        raise CorruptDataError(
            f"{path / DOCUMENT}: cannot be read as JSON ({error}), and nothing else tells what the bytes mean; mend "
            "the text by hand, as far as it can be guessed, and try again with --trust-metadata"
        ) from error
    attributes = root.get("attributes") if isinstance(root, dict) else None
    if not isinstance(attributes, dict) or _ATTRIBUTE not in attributes:
        raise FormatError(f"{path}: a Zarr store, but not an rlbuffers buffer")
    return json.dumps(attributes[_ATTRIBUTE])


def find_zarr_arrays(files: ZarrFiles, stated: Mapping[str, StatedArray], spec: BufferSpec) -> dict[str, SalvagedArray]:
    """Find the chunks of every array.

    What an array's document says of the sizes of chunks and shards is tried first, and then what its first shard
    shows: chunks of another size would not decode.
    """
    found = {}
    for name, array in stated.items():
        sizes = [*_described_sizes(files, f"{name}/{DOCUMENT}"), *_measured_sizes(files, array)]
        tried = [find_shards(files, array, *each) for each in dict.fromkeys(sizes) if _plausible(array, *each)]
        default = StoredArray(name, array.spec.dtype, array.shape, chunk_rows(array.spec, spec), ZstdCodec())
        nothing = missing_array(default, "its description and its first shard are damaged")
        found[name] = max(tried, key=lambda candidate: candidate.num_announced, default=nothing)
    return found


def _described_sizes(files: ZarrFiles, document: str) -> Iterator[tuple[int, int]]:
    """Yield (rows a chunk, chunks a shard) if the document of an array says so."""
    try:
        described = parsed_json(files.document(document))
        (shard_rows, *_) = described["chunk_grid"]["configuration"]["chunk_shape"]
        (rows, *_) = described["codecs"][0]["configuration"]["chunk_shape"]
        if type(rows) is int and type(shard_rows) is int and rows > 0 and shard_rows >= rows:
            yield rows, shard_rows // rows
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise_shortage(error, document)


def _measured_sizes(files: ZarrFiles, stated: StatedArray) -> Iterator[tuple[int, int]]:
    """Yield (rows a chunk, chunks a shard) by what stands in a whole shard: its chunks, 16 bytes for each, 4 bytes."""
    try:
        content = files.content(shard_name(stated.spec.name, 0, stated.spec.row_shape))
        chunk_bytes = zstandard.frame_content_size(bytes(content[:_FRAME_HEADER_BYTES]))
    except (OSError, ValueError, zstandard.ZstdError) as error:
        raise_shortage(error, stated.spec.name)
        return
    rows, rest = divmod(chunk_bytes, max(stated.spec.row_bytes, 1))
    if rows < 1 or rest or chunk_bytes > _MAX_CHUNK_BYTES:
        return
    _, sizes = scanned_chunks(content, len(content) // _INDEX_ENTRY_BYTES, chunk_bytes)
    per_shard, rest = divmod(len(content) - int(sizes.sum()) - _CRC_BYTES, _INDEX_ENTRY_BYTES)
    if per_shard > 0 and not rest:
        yield rows, per_shard


def _plausible(stated: StatedArray, rows: int, per_shard: int) -> bool:
    return rows * stated.spec.row_bytes <= _MAX_CHUNK_BYTES and per_shard <= _MAX_CHUNKS_PER_SHARD


def find_shards(source: ZarrFiles, stated: StatedArray, rows: int, per_shard: int) -> SalvagedArray:
    """Find the chunks of one array, cut into chunks of `rows` rows and shards of `per_shard` chunks."""
    array = StoredArray(stated.spec.name, stated.spec.dtype, stated.shape, rows, ZstdCodec())
    file_of = np.zeros(array.num_chunks, np.int64)
    offsets, sizes = np.zeros(array.num_chunks, np.int64), np.zeros(array.num_chunks, np.int64)
    files: list[memoryview] = []
    problem = ""
    for shard in range(-(-array.num_chunks // per_shard)):
        chunks = slice(shard * per_shard, min((shard + 1) * per_shard, array.num_chunks))
        try:
            content = source.content(shard_name(stated.spec.name, shard, stated.spec.row_shape))
        except (OSError, ValueError) as error:
            raise_shortage(error, shard_name(stated.spec.name, shard, stated.spec.row_shape))
            problem = problem or f"shard {shard} is missing, empty or unreadable ({error})"
            continue
        indexed = _index(content, per_shard)
        if indexed is None:
            problem = problem or f"the index of shard {shard} is damaged or cut off"
            indexed = scanned_chunks(content, per_shard, array.chunk_bytes)
        count = chunks.stop - chunks.start
        offsets[chunks], sizes[chunks] = indexed[0][:count], indexed[1][:count]
        file_of[chunks] = len(files)
        files.append(content)
    return SalvagedArray(array, ChunkPieces(files, file_of, offsets, sizes), problem)


def _index(content: memoryview, per_shard: int) -> _Places | None:
    """Return (offsets, sizes) by the index at the end of a shard, or None if it is damaged."""
    size = per_shard * _INDEX_ENTRY_BYTES
    encoded = bytes(content[-size - _CRC_BYTES : -_CRC_BYTES])
    if len(encoded) < size or crc32c(encoded) != int.from_bytes(content[-_CRC_BYTES:], "little"):
        return None
    entries = np.frombuffer(encoded, "<u8").reshape(-1, 2)
    known = entries[:, 1] < len(content)  # others are marked as missing
    places = np.where(known[:, None], entries, 0).astype(np.int64)
    return places[:, 0], places[:, 1]


def scanned_chunks(content: memoryview, per_shard: int, chunk_bytes: int) -> _Places:
    """Walk over the Zstandard frames and their checksums, which stand one behind the other, up to the first bad one."""
    offsets, sizes = np.zeros(per_shard, np.int64), np.zeros(per_shard, np.int64)
    place = 0
    for chunk in range(per_shard):
        length = _frame_length(content, place, chunk_bytes)
        stored = content[place : place + length + _CRC_BYTES]
        if not length or len(stored) < length + _CRC_BYTES:
            break
        if crc32c(bytes(stored[:length])) != int.from_bytes(stored[length:], "little"):
            break
        offsets[chunk], sizes[chunk] = place, len(stored)
        place += len(stored)
    return offsets, sizes


def _frame_length(content: memoryview, place: int, chunk_bytes: int) -> int:
    """Return the length of the Zstandard frame at `place`, or 0 if there is none of a whole chunk."""
    try:
        if zstandard.frame_content_size(bytes(content[place : place + _FRAME_HEADER_BYTES])) != chunk_bytes:
            return 0
        decoder = zstandard.ZstdDecompressor().decompressobj()
        end = place
        while not decoder.eof and end < len(content):
            decoder.decompress(bytes(content[end : end + _FED_BYTES]))
            end = min(end + _FED_BYTES, len(content))
    except zstandard.ZstdError:
        return 0
    return end - len(decoder.unused_data) - place if decoder.eof else 0
