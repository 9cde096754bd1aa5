"""Writing plain arrays into HDF5 quickly: chunks are compressed here, past HDF5's own slower filters.

Any HDF5 reader opens the result: the filters are ``shuffle`` and ``gzip``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from rlbuffers.exports.base import block_rows
from rlbuffers.reader import Buffer
from rlbuffers.schema import ArraySpec, ColumnSpec
from rlbuffers.stores.chunking import chunk_rows
from rlbuffers.stores.codecs import ZlibCodec
from rlbuffers.writing.chunk_encoder import ChunkEncoder

__all__ = ["write_column", "write_rows", "write_scalar", "write_whole"]

Array = np.ndarray[Any, Any]
_MIN_CHUNK_BYTES = 2048
_MAX_CHUNK_BYTES = 1 << 20


def write_column(group: h5py.Group, name: str, buffer: Buffer, column: str, on_rows: Callable[[int], None]) -> None:
    """Write a column of a buffer, in blocks of rows.

    Parameters
    ----------
    group : h5py.Group
        Where to make the dataset.
    name : str
        Its name; ``/`` nests.
    buffer : Buffer
        Where the rows come from.
    column : str
        Which of the buffer's columns.
    on_rows : callable
        Is given the number of rows written so far.
    """
    spec = buffer.spec.batch_column(column)
    write_rows(group, name, buffer, spec, lambda start, stop: _rows_of(buffer, column, start, stop), on_rows)


def write_rows(
    group: h5py.Group,
    name: str,
    buffer: Buffer,
    spec: ColumnSpec,
    read: Callable[[int, int], Array],
    on_rows: Callable[[int], None],
) -> None:
    """Write an array that has a row for each transition of a buffer, in blocks of rows.

    Parameters
    ----------
    group, name, buffer, on_rows
        As for `write_column`.
    spec : ColumnSpec
        What a row looks like.
    read : callable
        Is given (start, stop) and returns these rows.
    """
    rows_per_chunk = min(_chunk_rows(spec, buffer), len(buffer))
    dataset = group.create_dataset(
        name,
        shape=(len(buffer), *spec.shape),
        dtype=spec.dtype.newbyteorder("<"),
        chunks=(rows_per_chunk, *spec.shape),
        shuffle=spec.dtype.itemsize > 1,
        compression="gzip",
        compression_opts=1,
    )
    encoder = ChunkEncoder(ZlibCodec(shuffle_bytes=spec.dtype.itemsize), rows_per_chunk)
    step = max(block_rows(buffer) // rows_per_chunk, 1) * rows_per_chunk
    rest = (0,) * len(spec.shape)
    for start in range(0, len(buffer), step):
        stop = min(start + step, len(buffer))
        for number, chunk in enumerate(encoder.encode(read(start, stop)).chunks):
            dataset.id.write_direct_chunk((start + number * rows_per_chunk, *rest), chunk)
        on_rows(stop)


def _rows_of(buffer: Buffer, column: str, start: int, stop: int) -> Array:
    return buffer.rows(np.arange(start, stop), [column])[column]


def _chunk_rows(column: ColumnSpec, buffer: Buffer) -> int:
    return chunk_rows(ArraySpec(column.name, column.dtype, column.shape, "transitions"), buffer.spec)


def write_whole(group: h5py.Group, name: str, array: Array) -> None:
    """Write an array that fits into memory; one of a few bytes as it is, since a chunk costs more than it saves."""
    if array.nbytes < _MIN_CHUNK_BYTES:
        group.create_dataset(name, data=array)
        return
    rows_per_chunk = min(max(_MAX_CHUNK_BYTES // max(array[:1].nbytes, 1), 1), len(array))
    group.create_dataset(
        name,
        data=array,
        chunks=(rows_per_chunk, *array.shape[1:]),
        shuffle=array.dtype.itemsize > 1,
        compression="gzip",
        compression_opts=1,
    )


def write_scalar(group: h5py.Group, name: str, scalar: dict[str, Any]) -> None:
    """Write one of the metadata's ``scalars``: ``{"dtype": ..., "value": ...}``."""
    if scalar["dtype"] == "str":
        group.create_dataset(name, data=scalar["value"], dtype=h5py.string_dtype())
    else:
        group.create_dataset(name, data=np.array(scalar["value"], scalar["dtype"]))
