"""A buffer whose writer was killed, put together from its chunks, its journal and its tail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.errors import BufferBusyError, CorruptDataError, FormatError
from rlbuffers.hidden_paths import PARTIAL_SUFFIX, final_of, partial_of
from rlbuffers.json_documents import require_plain
from rlbuffers.leftovers import is_being_written
from rlbuffers.local_inputs import raise_shortage
from rlbuffers.metadata_schema import METADATA, settled
from rlbuffers.repair.damaged import DamagedBuffer
from rlbuffers.repair.salvaged_array import ChunkPieces, SalvagedArray, Tail
from rlbuffers.repair.stated_array import StatedArray
from rlbuffers.repair.zarr_files import mapped
from rlbuffers.schema import (
    EPISODE_FINAL_KNOWN,
    EPISODE_LENGTHS,
    EPISODE_RETURNS,
    EPISODE_STARTS,
    EPISODE_WHOLE,
    ArraySpec,
    BufferSpec,
    stored_arrays,
)
from rlbuffers.stores import named_format
from rlbuffers.stores.base import StoredArray
from rlbuffers.stores.codecs import Codec, ZlibCodec, ZstdCodec
from rlbuffers.writing.checkpoints import JOURNAL_VERSION
from rlbuffers.writing.journal import (
    INTERRUPTED_SUFFIX,
    Record,
    interrupted_of,
    journal_of,
    num_journaled,
    read_records,
    tail_of,
)

__all__ = ["find_interrupted", "is_hidden", "open_interrupted"]

Array = np.ndarray[Any, Any]
# What the journal holds of the arrays that are written at the commit only; returns are summed anew.
_OF_EPISODES = {
    EPISODE_STARTS: "episodes/lengths",
    EPISODE_LENGTHS: "episodes/lengths",
    EPISODE_RETURNS: "episodes/lengths",
    EPISODE_WHOLE: "episodes/whole",
    EPISODE_FINAL_KNOWN: "episodes/final_known",
}


def is_hidden(path: Path) -> bool:
    """Whether a path is named as a partial buffer is, before or after it was moved aside."""
    return path.name.startswith(".") and path.suffix in (PARTIAL_SUFFIX, INTERRUPTED_SUFFIX)


def find_interrupted(path: Path) -> Path | None:
    """Return what an interrupted writer of `path` left, or `path` itself if it is named; None if there is nothing.

    Raises
    ------
    BufferBusyError
        If a process is writing it now.
    """
    if is_hidden(path):
        found = path
    else:
        candidates = [place for place in (partial_of(path), interrupted_of(path)) if place.exists()]
        if not candidates:
            return None
        found = max(candidates, key=num_journaled)
    if found.name.endswith(PARTIAL_SUFFIX) and is_being_written(final_of(found)):
        raise BufferBusyError(f"{final_of(found)}: a process is writing it; wait for it or stop it")
    return found


def open_interrupted(path: Path) -> DamagedBuffer:
    """Open what a killed writer left.

    Parameters
    ----------
    path : Path
        The partial file or directory; its journal and tail stand beside it.

    Raises
    ------
    CorruptDataError
        If there was no checkpoint, or what is left of it does not fit together.
    FormatError
        If a later version wrote it.
    """
    header, growths, tail = _records(path)
    try:
        if header.facts["journal_version"] != JOURNAL_VERSION:
            raise FormatError(f"{journal_of(path)}: a journal of another version; upgrade rlbuffers")
        spec = BufferSpec.from_json(header.facts["spec"])
        layout = dict(header.facts["arrays"])
        stated, arrays = {}, {}
        for name, array in stored_arrays(spec).items():
            known = _tail_of(array, growths, tail)
            pieces = _pieces(path, name, growths, layout[name]["chunks_per_file"])
            stated[name] = StatedArray(array, known.end, None)
            codec: Codec = ZstdCodec() if header.facts["container"] == "zarr" else ZlibCodec(array.dtype.itemsize)
            chunk_rows = int(layout[name]["chunk_rows"])
            stored = StoredArray(name, array.dtype, (known.end, *array.row_shape), chunk_rows, codec)
            arrays[name] = SalvagedArray(stored, _cut(pieces, stored.num_chunks), "", known)
        told = {**header.facts["metadata"], "written_by": header.facts["written_by"]}
        metadata, _ = settled(require_plain(told), METADATA)
    except (KeyError, TypeError, ValueError, LookupError, ArithmeticError) as error:
        if isinstance(error, FormatError):
            raise
        raise CorruptDataError(f"{journal_of(path)}: contradicts itself ({error!r})") from error
    return DamagedBuffer(path, metadata, spec, stated, arrays, (), is_interrupted=True)


def _records(path: Path) -> tuple[Record, list[Record], Record]:
    """Return the header, the checkpoints and the tail."""
    try:
        records = list(read_records(journal_of(path)))
        tails = list(read_records(tail_of(path)))
    except FileNotFoundError as error:
        if named_format(final_of(path)) == "zip":
            raise CorruptDataError(
                f"{path}: its writer was killed before the metadata were written; of a .zarr.zip no checkpoints are "
                "taken (.hdf5 and .zarr have them, and `rlbuffers repack` makes a .zarr.zip of either)"
            ) from error
        raise CorruptDataError(
            f"{path}: its writer was killed before its first checkpoint, half a minute from its start; nothing tells "
            "what is in it"
        ) from error
    if len(records) < 2 or not tails:
        raise CorruptDataError(f"{journal_of(path)}: damaged before its first checkpoint ends")
    return records[0], records[1:], tails[0]


def _tail_of(array: ArraySpec, growths: list[Record], tail: Record) -> Tail:
    """Return the rows of an array that are not in chunks, up to the checkpoint of the tail."""
    episodes = int(tail.facts["episodes"])
    if array.rows == "episodes" and array.name in _OF_EPISODES:
        values = np.concatenate([growth.arrays[_OF_EPISODES[array.name]] for growth in growths])[:episodes]
        if array.name == EPISODE_STARTS:
            values = np.cumsum(values) - values
        return Tail(0, values.astype(array.dtype))
    rows = tail.arrays[array.name]
    if rows.dtype != array.dtype or rows.shape[1:] != array.row_shape:
        raise ValueError(f"{array.name}: {rows.dtype} {rows.shape}")
    return Tail(int(tail.facts["first_rows"][array.name]), rows)


def _pieces(path: Path, name: str, growths: list[Record], per_file: int | None) -> ChunkPieces:
    """Return where the chunks of an array are that the journal knows."""
    offsets, sizes = (
        np.concatenate([growth.arrays[f"{what}/{name}"] for growth in growths]).astype(np.int64)
        for what in ("offsets", "sizes")
    )
    numbers = np.zeros(len(offsets), np.int64) if per_file is None else np.arange(len(offsets)) // int(per_file)
    places = [path] if per_file is None else _shards(path / name, int(numbers.max(initial=-1)) + 1)
    return ChunkPieces([_bytes_of(place) for place in places], numbers, offsets, sizes)


def _shards(root: Path, count: int) -> list[Path]:
    """Return the files of an array's shards, whose names end in as many zeros as the rows have dimensions."""
    found = []
    for number in range(count):
        place = root / "c" / str(number)
        while place.is_dir():
            place /= "0"
        found.append(place)
    return found


def _bytes_of(path: Path) -> memoryview:
    try:
        return mapped(path)
    except (OSError, ValueError) as error:  # gone, or empty
        raise_shortage(error, path)
        return memoryview(b"")


def _cut(pieces: ChunkPieces, num_chunks: int) -> ChunkPieces:
    """Return the places of exactly so many chunks, unknown ones at the end."""

    def fitted(values: Array) -> Array:
        return np.concatenate([values[:num_chunks], np.zeros(max(num_chunks - len(values), 0), np.int64)])

    return ChunkPieces(pieces.files, fitted(pieces.file_of), fitted(pieces.offsets), fitted(pieces.sizes))
