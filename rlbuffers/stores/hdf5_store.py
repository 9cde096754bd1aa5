"""HDF5 buffers: gzip chunks that any HDF5 reader opens, decoded from the mapped file by ours.

h5py is asked once where each chunk's bytes are; random reads then never enter the HDF5 library.
Stacked and next observations also stand in the file as virtual datasets under the D4RL names, so
that ``h5py.File(path)["observations"][i]`` works although nothing is stored twice.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rlbuffers.errors import CorruptDataError, FormatError, RlbuffersError
from rlbuffers.stores.base import ChunkTable, StackView, StepView, StoredArray, StoreReader, StoreWriter, View
from rlbuffers.stores.codecs import Codec, ZlibCodec

__all__ = ["HDF5Reader", "HDF5Writer"]

_ATTRIBUTE = "rlbuffers"
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MAX_CHUNK_BYTES = 1 << 30
# HDF5 keeps irregular selections as a list that it searches from the front: long ones cost their square.
_RUNS_PER_MAPPING = 512
_ERRNO = re.compile(r"errno = (\d+)")

Int64 = np.ndarray[Any, np.dtype[np.int64]]


class HDF5Writer(StoreWriter):
    """Writes chunks past HDF5's own filter pipeline, which would encode them a second time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # The oldest format with virtual datasets and checksums on all metadata; "latest" shuts older readers out.
        self._file = h5py.File(path, "w", libver=("v110", "v110"), locking=False)
        self._num_chunks: dict[str, int] = {}

    def create_array(self, name: str, dtype: np.dtype[Any], row_shape: tuple[int, ...], chunk_rows: int) -> Codec:
        """See base class."""
        self._file.create_dataset(
            name,
            shape=(0, *row_shape),
            maxshape=(None, *row_shape),
            chunks=(chunk_rows, *row_shape),
            dtype=dtype.newbyteorder("<"),
            shuffle=dtype.itemsize > 1,
            compression="gzip",
            compression_opts=1,
        )
        self._num_chunks[name] = 0
        return ZlibCodec(shuffle_bytes=dtype.itemsize)

    def write_chunks(self, name: str, chunks: Sequence[bytes]) -> None:
        """See base class."""
        with _plain_disk_errors(self._path):
            dataset = self._file[name]
            chunk_rows = dataset.chunks[0]
            first = self._num_chunks[name]
            self._num_chunks[name] += len(chunks)
            dataset.resize(self._num_chunks[name] * chunk_rows, axis=0)
            rest = (0,) * (dataset.ndim - 1)
            for index, chunk in enumerate(chunks, first):
                dataset.id.write_direct_chunk((index * chunk_rows, *rest), chunk)

    def finish(self, lengths: Mapping[str, int], metadata: str, views: Sequence[View]) -> None:
        """See base class."""
        with _plain_disk_errors(self._path):
            for name, length in lengths.items():
                self._file[name].resize(length, axis=0)
            for view in views:
                if isinstance(view, StackView):
                    _add_stack_view(self._file, view)
                else:
                    _add_step_view(self._file, view)
            encoded = metadata.encode()
            self._file.attrs.create(_ATTRIBUTE, encoded, dtype=h5py.string_dtype("utf-8", len(encoded)))
            self._file.close()

    def abort(self) -> None:
        """See base class."""
        # Closing writes what is pending, which fails again on a full disk; it is thrown away in any case.
        with suppress(OSError, RuntimeError):
            if self._file:
                self._file.close()


@contextmanager
def _plain_disk_errors(path: Path) -> Iterator[None]:
    """Turn HDF5's account of a full disk, a paragraph of either of two types, into an ordinary OSError."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        code = _ERRNO.search(str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from error


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


class HDF5Reader(StoreReader):
    """Reads the chunk index through h5py and everything else from the mapped file.

    No HDF5 handle stays open, so readers survive a fork and can be pickled by path.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            if file.read(len(_SIGNATURE)) != _SIGNATURE:
                raise FormatError(f"{path}: not an HDF5 file (its first bytes are not HDF5's signature)")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        with self._opened() as hdf5:
            if _ATTRIBUTE not in hdf5.attrs:
                raise FormatError(f"{path}: an HDF5 file, but not an rlbuffers buffer; `rlbuffers convert` makes one")
            self.metadata = _text(hdf5.attrs[_ATTRIBUTE])
            self.arrays = _stored_arrays(hdf5, path)

    @classmethod
    def open(cls, path: Path) -> HDF5Reader:
        """See base class."""
        return cls(path)

    @contextmanager
    def _opened(self) -> Iterator[h5py.File]:
        """Open with h5py and translate whatever it raises on a damaged file."""
        try:
            with _open_file(self._path) as hdf5:
                yield hdf5
        except RlbuffersError:
            raise
        except (OSError, RuntimeError, LookupError, ArithmeticError, ValueError, TypeError, AttributeError) as error:
            reason = str(error).strip("'\"").splitlines()[0] if str(error) else repr(error)
            raise CorruptDataError(f"{self._path}: damaged; the HDF5 library says: {reason}") from error

    def chunk_table(self, name: str) -> ChunkTable:
        """See base class."""
        array = self.arrays[name]
        offsets = np.full(array.num_chunks, -1, dtype=np.int64)
        sizes = np.zeros(array.num_chunks, dtype=np.int64)

        def note(chunk: Any) -> None:
            index = chunk.chunk_offset[0] // array.chunk_rows
            if index < array.num_chunks and chunk.filter_mask == 0:
                offsets[index] = chunk.byte_offset
                sizes[index] = chunk.size

        with self._opened() as hdf5:
            hdf5[name].id.chunk_iter(note)
        outside = (offsets < 0) | (offsets + sizes > len(self._map))
        if outside.any():
            raise CorruptDataError(f"{self._path}: array {name!r}: chunk {int(outside.argmax())} is missing")
        return ChunkTable(
            regions=[memoryview(self._map)],
            region_of=np.zeros(array.num_chunks, dtype=np.int64),
            offsets=offsets,
            sizes=sizes,
            region_names=[str(self._path)],
        )

    def read_view(self, name: str, rows: Sequence[int]) -> np.ndarray[Any, Any] | None:
        """See base class."""
        with self._opened() as hdf5:
            view = hdf5[name]
            found: np.ndarray[Any, Any] = np.stack([view[row] for row in rows])
            return found

    def disk_bytes(self) -> int:
        """See base class."""
        return self._path.stat().st_size

    def close(self) -> None:
        """See base class; chunk tables that are still in use keep the map alive."""
        try:
            self._map.close()
        except BufferError:
            return


def _open_file(path: Path) -> h5py.File:
    """Open for reading as plain h5py does, so that a file can be open in both ways at once."""
    try:
        return h5py.File(path, "r")
    except OSError as error:
        # Some file systems know no locks, and whoever has the file open without them forbids them to others.
        if "lock" not in str(error):
            raise
        return h5py.File(path, "r", locking=False)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _stored_arrays(hdf5: h5py.File, path: Path) -> dict[str, StoredArray]:
    arrays: dict[str, StoredArray] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not item.is_virtual:
            if item.chunks is None or item.compression != "gzip" or item.chunks[1:] != item.shape[1:]:
                raise FormatError(f"{path}: array {name!r} is not stored as gzip chunks of whole rows")
            codec = ZlibCodec(shuffle_bytes=item.dtype.itemsize if item.shuffle else 1)
            arrays[name] = StoredArray(name, item.dtype, item.shape, item.chunks[0], codec)
            if arrays[name].chunk_bytes > _MAX_CHUNK_BYTES:
                raise FormatError(f"{path}: array {name!r} has chunks of {arrays[name].chunk_bytes} bytes; too large")

    hdf5.visititems(note)
    return arrays
