"""Rows of an HDF5 dataset, inflated past the library.

The library inflates a chunk to whatever size it has: one of a megabyte may fill gigabytes, and of one that is too short
it hands out what happens to be in memory behind it. Here each chunk has to inflate to exactly its size.
"""

from __future__ import annotations

import itertools
from typing import Any

import h5py
import numpy as np

from rlbuffers.errors import CorruptDataError
from rlbuffers.stores.codecs import CodecError, ZlibCodec

__all__ = ["rows_of"]

Array = np.ndarray[Any, Any]
_SHUFFLE, _DEFLATE = h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE
_PIPELINES = ((_DEFLATE,), (_SHUFFLE, _DEFLATE))


def rows_of(dataset: h5py.Dataset, start: int = 0, stop: int | None = None) -> Any:
    """Return rows of a dataset, or the value of one without rows.

    Parameters
    ----------
    dataset : h5py.Dataset
        Its size was held against what is stored, see `rlbuffers.sources.hdf5_files.check_size`.
    start, stop : int, optional
        Which rows; by default all.

    Returns
    -------
    array
        Shape (stop - start, ...), of the dataset's dtype.

    Raises
    ------
    CorruptDataError
        If a chunk does not hold exactly what it should.
    """
    created = dataset.id.get_create_plist()
    if created.get_layout() != h5py.h5d.CHUNKED:
        return dataset[start:stop] if dataset.shape else dataset[()]
    filters = tuple(created.get_filter(number)[0] for number in range(created.get_nfilters()))
    dtype = dataset.dtype
    if filters not in _PIPELINES or not _is_stored_alike(dataset, dtype):
        return dataset[start:stop]
    stop = min(len(dataset) if stop is None else stop, len(dataset))
    rows: Array = np.empty((max(stop - start, 0), *dataset.shape[1:]), dtype)
    reader = _ChunkReader(dataset, created.get_chunk(), filters, dtype)
    for offset in reader.offsets(start, stop):
        reader.read(offset, rows, start)
    return rows


def _is_stored_alike(dataset: h5py.Dataset, dtype: np.dtype[Any]) -> bool:
    """Whether NumPy has the items as they stand in the file."""
    return dtype.kind in "biufS" and bool(h5py.h5t.py_create(dtype, logical=True) == dataset.id.get_type())


class _ChunkReader:
    def __init__(
        self, dataset: h5py.Dataset, chunk: tuple[int, ...], filters: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self._dataset, self._chunk, self._filters, self._dtype = dataset, chunk, filters, dtype
        self._size = int(np.prod(chunk, dtype=object)) * dtype.itemsize

    def offsets(self, start: int, stop: int) -> itertools.product[tuple[int, ...]]:
        """Return the first index of each chunk that has some of the rows."""
        rows, *rest = self._chunk
        others = [range(0, size, step) for size, step in zip(self._dataset.shape[1:], rest, strict=True)]
        return itertools.product(range(start // rows * rows, stop, rows), *others)

    def read(self, offset: tuple[int, ...], rows: Array, start: int) -> None:
        """Put what a chunk has of the rows, of which the first is row `start`, in their place."""
        first = max(offset[0] - start, 0)
        last = min(offset[0] - start + self._chunk[0], len(rows))
        inner = tuple(slice(begin, begin + size) for begin, size in zip(offset[1:], self._chunk[1:], strict=True))
        target = rows[(slice(first, last), *inner)]
        stored = self._stored(offset)
        if stored is None:
            target[...] = self._dataset.fillvalue
        elif target.shape == self._chunk and target.flags.c_contiguous:
            self._decode(offset, *stored, target)
        else:
            whole = np.empty(self._chunk, self._dtype)
            self._decode(offset, *stored, whole)
            skipped = first + start - offset[0]
            target[...] = whole[(slice(skipped, None), *[slice(None)] * len(inner))][tuple(map(slice, target.shape))]

    def _stored(self, offset: tuple[int, ...]) -> tuple[int, bytes] | None:
        """Return the mask of filters that were left out, and the bytes of a chunk; None if it was never written."""
        try:
            mask, stored = self._dataset.id.read_direct_chunk(offset)
        except (OSError, RuntimeError, ValueError):
            # Asked only now: the library walks over all chunks to answer.
            if self._dataset.id.get_chunk_info_by_coord(offset).byte_offset is None:
                return None
            raise
        return mask, stored

    def _decode(self, offset: tuple[int, ...], mask: int, stored: bytes, target: Array) -> None:
        shuffled, inflated = (
            code in self._filters and not mask >> self._filters.index(code) & 1 for code in (_SHUFFLE, _DEFLATE)
        )
        item = self._dtype.itemsize if shuffled else 1
        view = target.reshape(-1).view(np.uint8).data
        try:
            if inflated:
                ZlibCodec(item).decode([memoryview(stored)], self._size, view)
            else:
                view[:] = np.frombuffer(stored, np.uint8).reshape(item, -1).T.tobytes()
        except (CodecError, ValueError) as error:
            raise CorruptDataError(
                f"{self._dataset.file.filename}: damaged or cut short: the chunk at {offset} of {self._dataset.name!r} "
                f"does not hold exactly {self._size:,} bytes. Fetch the file again"
            ) from error
