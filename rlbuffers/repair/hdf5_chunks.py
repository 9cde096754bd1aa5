"""The chunks of a damaged HDF5 buffer, as far as the HDF5 library can still say where they are."""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.hdf5_errors import HDF5_ERRORS, reason_of
from rlbuffers.hdf5_links import leads_inside
from rlbuffers.local_inputs import MAX_DOCUMENT_BYTES, refuse_special
from rlbuffers.metadata import FORMAT_NAME
from rlbuffers.repair.hdf5_superblock import opened_damaged, opened_without_root
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
_METADATA_BEGIN = b'{"arrays": '  # its keys are sorted
_MAX_CHUNK_BYTES = 1 << 30


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
        with opened_damaged(path) as file:
            found = file.attrs.get(_ATTRIBUTE)
    except HDF5_ERRORS as error:
        found = _scanned_metadata(path)
        if found is None:
            raise CorruptDataError(
                f"{path}: the root of the file is damaged ({reason_of(error)}), and its metadata, which say what the "
                "bytes mean, are found nowhere in it; take a copy, or convert the source once more"
            ) from error
    if found is None:
        raise FormatError(f"{path}: an HDF5 file, but not an rlbuffers buffer")
    return found.decode(errors="replace") if isinstance(found, bytes) else str(found)


def _scanned_metadata(path: Path) -> str | None:
    """Find the metadata text, which stands in the file in one piece, without the library."""
    if not refuse_special(path).stat().st_size:
        return None
    with refuse_special(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        place = content.find(_METADATA_BEGIN)
        while place >= 0:
            text = content[place : place + MAX_DOCUMENT_BYTES].decode("latin-1")  # JSON as it is written is ASCII
            with suppress(ValueError, RecursionError):
                document, end = json.JSONDecoder().raw_decode(text)
                if document.get("format") == FORMAT_NAME:
                    return text[:end]
            place = content.find(_METADATA_BEGIN, place + 1)
    return None


def find_hdf5_arrays(path: Path, stated: Mapping[str, StatedArray], spec: BufferSpec) -> dict[str, SalvagedArray]:
    """Ask the library for the place of every chunk; an array of which it cannot tell has no places."""
    with refuse_special(path).open("rb") as opened:
        content = memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
    opened_file = OpenFile(path)
    with ExitStack() as stack:
        tables: dict[str, StoredTable] = {}
        datasets: dict[str, h5py.Dataset | Exception]
        try:
            file = stack.enter_context(opened_damaged(path))
            with suppress(*HDF5_ERRORS):
                tables = find_tables(file)
            datasets = {name: _named(file, name) for name in stated}
        except HDF5_ERRORS as error:
            datasets = dict.fromkeys(stated, error)
        if any(isinstance(found, Exception) for found in datasets.values()):
            with suppress(*HDF5_ERRORS):
                datasets |= _in_order(stack.enter_context(opened_without_root(path)), stated)
        return {
            name: _find(datasets[name], array, content, spec, partial(_from_table, tables.get(name), opened_file))
            for name, array in stated.items()
        }


def _named(file: h5py.File, name: str) -> h5py.Dataset | Exception:
    try:
        if not leads_inside(file, name):
            raise KeyError(f"{name!r} is missing, or a link to another place")
        return file[name]
    except HDF5_ERRORS as error:
        return error


def _in_order(file: h5py.File, stated: Mapping[str, StatedArray]) -> dict[str, h5py.Dataset]:
    """Return the datasets of a file without names, which were made in the order of the arrays; nothing if one lacks."""
    found = []
    for number in range(len(file)):
        with suppress(*HDF5_ERRORS):
            item = file[str(number)]
            if isinstance(item, h5py.Dataset) and item.chunks is not None:
                found.append(item)
    fits = len(found) == len(stated) and all(
        item.dtype == array.spec.dtype and item.shape == array.shape
        for item, array in zip(found, stated.values(), strict=True)
    )
    return dict(zip(stated, found, strict=True)) if fits else {}


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
    found: h5py.Dataset | Exception,
    stated: StatedArray,
    content: memoryview,
    spec: BufferSpec,
    fill: Callable[[Int64, Int64], None],
) -> SalvagedArray:
    name, dtype = stated.spec.name, stated.spec.dtype
    try:
        if isinstance(found, Exception):
            raise found
        dataset = found
        rows, shuffled = int(dataset.chunks[0]), bool(dataset.shuffle)
        fits = dataset.dtype == dtype and dataset.shape == stated.shape and dataset.chunks[1:] == stated.shape[1:]
    except HDF5_ERRORS as error:
        absent = StoredArray(name, dtype, stated.shape, chunk_rows(stated.spec, spec), ZlibCodec())
        return missing_array(absent, f"the description of the array is damaged ({reason_of(error)})")
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
    except HDF5_ERRORS as error:
        problem = f"the index of its chunks is damaged ({reason_of(error)})"
        # Chunks in other parts of the index can still be asked for one by one.
        rest = (0,) * (len(array.shape) - 1)
        for index in np.flatnonzero(sizes == 0).tolist():
            with suppress(*HDF5_ERRORS):
                note(dataset.id.get_chunk_info_by_coord((index * array.chunk_rows, *rest)))
        fill(offsets, sizes)
    pieces = ChunkPieces([content], np.zeros(array.num_chunks, np.int64), offsets, sizes)
    return SalvagedArray(array, pieces, problem)
