"""The chunks of a damaged HDF5 buffer, as far as the HDF5 library can still say where they are."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.hdf5_links import leads_inside
from rlbuffers.local_inputs import refuse_special
from rlbuffers.repair.salvaged_array import ChunkPieces, SalvagedArray, missing_array
from rlbuffers.repair.stated_array import StatedArray
from rlbuffers.schema import BufferSpec
from rlbuffers.stores.base import StoredArray
from rlbuffers.stores.chunking import chunk_rows
from rlbuffers.stores.codecs import ZlibCodec
from rlbuffers.stores.hdf5_chunk_tables import CHUNKS_PER_PIECE, StoredTable, find_tables
from rlbuffers.stores.local_files import OpenFile

__all__ = ["find_hdf5_arrays", "read_hdf5_metadata"]

Int64 = np.ndarray[Any, np.dtype[np.int64]]

_ATTRIBUTE = "rlbuffers"
_MAX_CHUNK_BYTES = 1 << 30
# Whatever h5py raises on a damaged file.
_LIBRARY_ERRORS = (OSError, RuntimeError, LookupError, ArithmeticError, ValueError, TypeError, AttributeError)


def read_hdf5_metadata(path: Path) -> str:
    """Return the metadata text.

    Raises
    ------
    CorruptDataError
        If the root of the file cannot be read.
    FormatError
        If the file is of another program.
    """
    try:
        with h5py.File(refuse_special(path), "r", locking=False) as file:
            found = file.attrs.get(_ATTRIBUTE)
    except _LIBRARY_ERRORS as error:
        raise CorruptDataError(
            f"{path}: the root of the file is damaged, without which nothing in it can be found "
            f"({_first_line(error)}); take a copy, or convert the source once more"
        ) from error
    if found is None:
        raise FormatError(f"{path}: an HDF5 file, but not an rlbuffers buffer")
    return found.decode(errors="replace") if isinstance(found, bytes) else str(found)


def find_hdf5_arrays(path: Path, stated: Mapping[str, StatedArray], spec: BufferSpec) -> dict[str, SalvagedArray]:
    """Ask the library for the place of every chunk; an array of which it cannot tell has no places."""
    with refuse_special(path).open("rb") as opened:
        content = memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
    opened_file = OpenFile(path)
    with h5py.File(path, "r", locking=False) as file:
        tables: dict[str, StoredTable] = {}
        with suppress(*_LIBRARY_ERRORS):
            tables = find_tables(file)
        return {
            name: _find(file, array, content, spec, partial(_from_table, tables.get(name), opened_file))
            for name, array in stated.items()
        }


def _from_table(table: StoredTable | None, file: OpenFile, offsets: Int64, sizes: Int64) -> None:
    """Fill in the places that are not known by the table of chunks that the file carries."""
    if table is None:
        return
    for number in range(-(-table.num_chunks // CHUNKS_PER_PIECE)):
        with suppress(CorruptDataError):
            found = table.piece(file, number)
            start = number * CHUNKS_PER_PIECE
            stop = min(start + len(found[0]), len(offsets))
            unknown = np.flatnonzero(sizes[start:stop] == 0)
            offsets[start + unknown], sizes[start + unknown] = found[0][unknown], found[1][unknown]


def _find(
    file: h5py.File, stated: StatedArray, content: memoryview, spec: BufferSpec, fill: Callable[[Int64, Int64], None]
) -> SalvagedArray:
    name, dtype = stated.spec.name, stated.spec.dtype
    try:
        if not leads_inside(file, name):
            raise KeyError(f"{name!r} is missing, or a link to another place")
        dataset = file[name]
        rows, shuffled = int(dataset.chunks[0]), bool(dataset.shuffle)
        fits = dataset.dtype == dtype and dataset.shape == stated.shape and dataset.chunks[1:] == stated.shape[1:]
    except _LIBRARY_ERRORS as error:
        absent = StoredArray(name, dtype, stated.shape, chunk_rows(stated.spec, spec), ZlibCodec())
        return missing_array(absent, f"the description of the array is damaged ({_first_line(error)})")
    array = StoredArray(name, dtype, stated.shape, rows, ZlibCodec(dtype.itemsize if shuffled else 1))
    if not fits or array.chunk_bytes > _MAX_CHUNK_BYTES:
        return missing_array(array, f"the file describes it as {dataset.dtype} {dataset.shape}, unlike the metadata")
    return _with_places(dataset, array, content, fill)


def _with_places(
    dataset: h5py.Dataset, array: StoredArray, content: memoryview, fill: Callable[[Int64, Int64], None]
) -> SalvagedArray:
    offsets, sizes = np.zeros(array.num_chunks, np.int64), np.zeros(array.num_chunks, np.int64)

    def note(chunk: Any) -> None:
        index = chunk.chunk_offset[0] // array.chunk_rows
        if index < array.num_chunks and chunk.filter_mask == 0 and chunk.byte_offset is not None:
            offsets[index], sizes[index] = chunk.byte_offset, chunk.size

    problem = ""
    try:
        dataset.id.chunk_iter(note)
    except _LIBRARY_ERRORS as error:
        problem = f"the index of its chunks is damaged ({_first_line(error)})"
        # Chunks in other parts of the index can still be asked for one by one.
        rest = (0,) * (len(array.shape) - 1)
        for index in np.flatnonzero(sizes == 0).tolist():
            with suppress(*_LIBRARY_ERRORS):
                note(dataset.id.get_chunk_info_by_coord((index * array.chunk_rows, *rest)))
        fill(offsets, sizes)
    pieces = ChunkPieces([content], np.zeros(array.num_chunks, np.int64), offsets, sizes)
    return SalvagedArray(array, pieces, problem)


def _first_line(error: Exception) -> str:
    lines = str(error).strip("'\"").splitlines()
    return lines[0] if lines else repr(error)
