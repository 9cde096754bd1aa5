"""Virtual datasets: stacks and next observations that plain HDF5 readers see although nothing is stored twice.

HDF5 keeps the mappings of a virtual dataset in a global heap, the one kind of metadata in a new file
that carries no checksum that is looked at in time: a damaged mapping can crash the HDF5 library. So a
digest of the heaps is stored beside them, and compared before the library is asked for anything in them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xxhash

from rlbuffers.errors import CorruptDataError
from rlbuffers.hdf5_writing import written_hdf5
from rlbuffers.json_documents import parsed_json
from rlbuffers.stores.base import StackView, StepView, View
from rlbuffers.stores.folders import ByteFile
from rlbuffers.stores.local_files import OpenFile

__all__ = ["LIBRARY_VERSIONS", "add_views", "check_views", "protect_views"]

# The oldest format with virtual datasets and checksums on metadata; "latest" shuts older readers out.
LIBRARY_VERSIONS = ("v110", "v110")
_ATTRIBUTE = "rlbuffers_views"
# HDF5 File Format Specification 3.0, section III.E: signature, version 1, three reserved bytes, size.
_HEAP_SIGNATURE = b"GCOL\x01\x00\x00\x00"
_HEAP_SIZE_BYTES = 8
_BLOCK_BYTES = 16 << 20
# HDF5 keeps irregular selections as a list that it searches from the front: long ones cost their square.
_RUNS_PER_MAPPING = 512

Int64 = np.ndarray[Any, np.dtype[np.int64]]


def add_views(file: h5py.File, views: Sequence[View]) -> None:
    """Create the virtual datasets in a file whose arrays have their final lengths."""
    for view in views:
        if isinstance(view, StackView):
            _add_stack_view(file, view)
        else:
            _add_step_view(file, view)


def protect_views(path: Path) -> None:
    """Store digests of the heaps of a closed file, as an attribute of its root."""
    file = OpenFile(path)
    heaps = [[start, size, _digest(file.read(start, size))] for start, size in _heaps(file)]
    with written_hdf5(path, mode="r+", libver=LIBRARY_VERSIONS) as (hdf5, _):
        hdf5.attrs[_ATTRIBUTE] = np.bytes_(json.dumps(heaps))  # of fixed length: others stand in a heap


def check_views(hdf5: h5py.File, file: ByteFile) -> None:
    """Compare the heaps with their digests.

    Parameters
    ----------
    hdf5 : h5py.File
        The open file, of which nothing but the root's attributes is asked.
    file : ByteFile
        The same file's bytes.

    Raises
    ------
    CorruptDataError
        If a heap is not what was written.
    """
    for heap in parsed_json(hdf5.attrs.get(_ATTRIBUTE, "[]")):
        start, size, digest = heap
        if not (type(start) is type(size) is int and 0 <= start <= file.size and 0 <= size <= file.size - start):
            raise CorruptDataError(f"{file.name}: the places of its virtual datasets' mappings are damaged")
        if _digest(file.read(start, size)) != digest:
            raise CorruptDataError(f"{file.name}: the mappings of its virtual datasets (offset {start}) are damaged")


def _heaps(file: OpenFile) -> Iterator[tuple[int, int]]:
    """Yield (offset, size) of whatever looks like a global heap; a chunk that does is constant as well."""
    head = len(_HEAP_SIGNATURE) + _HEAP_SIZE_BYTES
    for begin in range(0, file.size, _BLOCK_BYTES):
        block = file.read(begin, min(_BLOCK_BYTES + head - 1, file.size - begin))
        place = block.find(_HEAP_SIGNATURE)
        while 0 <= place <= len(block) - head and place < _BLOCK_BYTES:
            size = int.from_bytes(block[place + len(_HEAP_SIGNATURE) : place + head], "little")
            if begin + place + size <= file.size:
                yield begin + place, size
            place = block.find(_HEAP_SIGNATURE, place + 1)


def _digest(heap: bytes) -> str:
    return xxhash.xxh3_128_hexdigest(heap)


def _add_stack_view(file: h5py.File, view: StackView) -> None:
    frames = file["frames"]
    shape = (int(view.run_lengths.sum()), view.depth, *frames.shape[1:])
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    starts, first_frames, lengths = _without_rows(view)
    # A strided run has as many pieces as rows, so each stays a regular selection of its own.
    for group in _groups(len(starts), 1 if view.step > 1 else _RUNS_PER_MAPPING):
        for position in range(view.depth):
            target = _selection(shape, starts[group], lengths[group], inner=position)
            source = _selection(
                frames.shape, first_frames[group] + view.shift + position, lengths[group], stride=view.step
            )
            properties.set_virtual(target, b".", b"/frames", source)
    for number, row, length in _runs_of(view.override_rows):
        overrides = file["next_overrides/observations"]
        properties.set_virtual(
            _selection(shape, row, length),
            b".",
            b"/next_overrides/observations",
            _selection(overrides.shape, number, length),
        )
    _create_virtual(file, view.name, frames.dtype, shape, properties)


def _without_rows(view: StackView) -> tuple[Int64, Int64, Int64]:
    """Cut the runs of a view at its override rows, which are mapped from elsewhere."""
    starts, frames, lengths = [], [], []
    for start, frame, length in zip(view.run_starts, view.run_frames, view.run_lengths, strict=True):
        inside = (view.override_rows >= start) & (view.override_rows < start + length)
        begin = start
        for row in [*view.override_rows[inside].tolist(), start + length]:
            if row > begin:
                starts.append(begin)
                frames.append(frame + (begin - start) * view.step)
                lengths.append(row - begin)
            begin = row + 1
    return np.array(starts, np.int64), np.array(frames, np.int64), np.array(lengths, np.int64)


def _add_step_view(file: h5py.File, view: StepView) -> None:
    steps, finals = file[view.steps], file[view.finals]
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    ends = view.starts + view.lengths - 1
    for group in _groups(len(view.starts), _RUNS_PER_MAPPING):
        longer = view.lengths[group] > 1
        starts, inner = view.starts[group][longer], view.lengths[group][longer] - 1
        if len(starts):
            properties.set_virtual(
                _selection(steps.shape, starts, inner),
                b".",
                view.steps.encode(),
                _selection(steps.shape, starts + 1, inner),
            )
        ones = np.ones(len(ends[group]), np.int64)
        episodes = np.arange(len(view.starts), dtype=np.int64)[group]
        properties.set_virtual(
            _selection(steps.shape, ends[group], ones),
            b".",
            view.finals.encode(),
            _selection(finals.shape, episodes[:1], ones[:1] * len(episodes)),
        )
    _create_virtual(file, view.name, steps.dtype, steps.shape, properties)


def _groups(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, start + size)


def _runs_of(rows: Int64) -> Iterator[tuple[Int64, Int64, Int64]]:
    """Yield (position in `rows`, first row, length) of each run of consecutive rows, as arrays of one number."""
    begins = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
    lengths = np.diff(begins, append=len(rows))
    for begin, length in zip(begins, lengths, strict=True):
        yield np.array([begin]), rows[[begin]], np.array([length])


def _selection(
    shape: tuple[int, ...], starts: Int64, lengths: Int64, *, stride: int = 1, inner: int | None = None
) -> h5py.h5s.SpaceID:
    """Select runs of whole rows, every `stride`-th one, or only position `inner` of their second axis."""
    space = h5py.h5s.create_simple(shape)
    rest_start = [0] * (len(shape) - 1)
    rest_block = list(shape[1:])
    if inner is not None:
        rest_start[0], rest_block[0] = inner, 1
    operation = h5py.h5s.SELECT_SET
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        strided = stride > 1
        space.select_hyperslab(
            (start, *rest_start),
            (length if strided else 1, *[1] * len(rest_block)),
            stride=(stride, *[1] * len(rest_block)) if strided else None,
            block=(1 if strided else length, *rest_block),
            op=operation,
        )
        operation = h5py.h5s.SELECT_OR
    return space


def _create_virtual(
    file: h5py.File, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], properties: h5py.h5p.PropDCID
) -> None:
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    space = h5py.h5s.create_simple(shape)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(dtype, logical=True), space, properties, lcpl=links)
