"""The arrays of one episode in an HDF5 file, filled from the first row to the last."""

from __future__ import annotations

from typing import Any, Protocol

import h5py
import numpy as np

from rlbuffers.stores.codecs import ZlibCodec
from rlbuffers.writing.chunk_encoder import ChunkEncoder

__all__ = ["EpisodeArray", "NumberArray"]

Array = np.ndarray[Any, Any]
_CHUNK_BYTES = 1 << 20


class EpisodeArray(Protocol):
    """Takes rows in order."""

    def append(self, rows: Array) -> None:
        """Add rows; the last ones are on their way to the file when the array has all of them."""


class NumberArray:
    """Rows in chunks that are compressed here, past HDF5's own slower filters, which can be appended to.

    Parameters
    ----------
    group : h5py.Group
        Where to make the dataset.
    name : str
        Its name; ``/`` nests.
    count : int
        How many rows will come.
    dtype, shape
        Of a row.
    """

    def __init__(self, group: h5py.Group, name: str, count: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        row_bytes = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        self._chunk_rows = max(min(_CHUNK_BYTES // max(row_bytes, 1), count), 1)
        self._encoder = ChunkEncoder(ZlibCodec(shuffle_bytes=dtype.itemsize), self._chunk_rows)
        self._rest = (0,) * len(shape)
        self._missing = count
        self._written = 0
        self._pending = np.empty((0, *shape), dtype)
        self._dataset = group.create_dataset(
            name,
            shape=(count, *shape),
            dtype=dtype.newbyteorder("<"),
            chunks=(self._chunk_rows, *shape),
            maxshape=(None, *shape),
            shuffle=dtype.itemsize > 1,
            compression="gzip",
            compression_opts=1,
        )

    def append(self, rows: Array) -> None:
        """Add rows, and write the chunks that are full or the last."""
        self._missing -= len(rows)
        rows = np.concatenate([self._pending, rows]) if len(self._pending) else rows
        full = len(rows) if not self._missing else len(rows) // self._chunk_rows * self._chunk_rows
        for chunk in self._encoder.encode(rows[:full]).chunks:
            self._dataset.id.write_direct_chunk((self._written, *self._rest), chunk)
            self._written += self._chunk_rows
        self._pending = rows[full:]
