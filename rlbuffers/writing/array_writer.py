"""Writing one stored array: rows in, encoded chunks and a digest out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rlbuffers.episode import EncodedRows
from rlbuffers.fingerprint import ArrayDigest
from rlbuffers.schema import ArraySpec, BufferSpec
from rlbuffers.stores.base import StoreWriter
from rlbuffers.writing.chunk_encoder import ChunkEncoder
from rlbuffers.writing.storage_options import StorageOptions

__all__ = ["ArrayWriter"]

Array = np.ndarray[Any, Any]


class ArrayWriter:
    """One array being written; keeps the rows that do not fill a unit yet.

    Parameters
    ----------
    array : ArraySpec
        What is written.
    spec : BufferSpec
        The buffer that it belongs to.
    storage : StorageOptions
        Chunks and compression.
    store : StoreWriter
        Takes the chunks.
    on_rows : callable, optional
        Is given all rows, in order, in pieces that are worth a look each.
    """

    def __init__(
        self,
        array: ArraySpec,
        spec: BufferSpec,
        storage: StorageOptions,
        store: StoreWriter,
        on_rows: Callable[[Array], None] | None = None,
    ) -> None:
        self.spec = array
        self.num_rows = 0
        rows_per_chunk = storage.rows_of(array, spec)
        codec = store.create_array(array.name, array.dtype, array.row_shape, rows_per_chunk)
        chosen = storage.codec_of(codec)
        store.use_codec(array.name, chosen)
        self.encoder = ChunkEncoder(chosen, rows_per_chunk)
        self.digest = ArrayDigest()
        self._store = store
        self._on_rows = on_rows
        self._pending: Array | None = None  # room for a unit, of which the first rows are filled
        self._num_pending = 0

    def append(self, rows: Array) -> None:
        """Add rows; the caller may change them afterwards."""
        unit = self.encoder.unit_rows
        if self._num_pending:
            taken = min(unit - self._num_pending, len(rows))
            self._keep(rows[:taken])
            rows = rows[taken:]
            if self._num_pending < unit:
                return
            self._write_pending()
        whole = len(rows) // unit * unit
        if whole:
            self._write_rows(rows[:whole])
        if whole < len(rows):
            self._keep(rows[whole:])

    def _keep(self, rows: Array) -> None:
        if self._pending is None:
            self._pending = np.empty((self.encoder.unit_rows, *self.spec.row_shape), self.spec.dtype)
        self._pending[self._num_pending : self._num_pending + len(rows)] = rows
        self._num_pending += len(rows)

    def _write_pending(self) -> None:
        if self._pending is not None and self._num_pending:
            self._write_rows(self._pending[: self._num_pending])
            self._num_pending = 0

    @property
    def pending(self) -> Array:
        """The rows behind the `num_rows` that were written; valid until more come."""
        if self._pending is None:
            return np.empty((0, *self.spec.row_shape), self.spec.dtype)
        return self._pending[: self._num_pending]

    def append_encoded(self, rows: EncodedRows) -> None:
        """Write rows as they are, or decode them again where they neither begin nor end with a unit."""
        if self._num_pending or self._on_rows is not None or rows.num_rows % self.encoder.unit_rows:
            self.append(self._decoded(rows))
        else:
            self._write(rows)

    def _decoded(self, rows: EncodedRows) -> Array:
        chunk_rows = self.encoder.chunk_rows
        out = np.empty((len(rows.chunks) * chunk_rows, *self.spec.row_shape), self.spec.dtype)
        target = out.reshape(-1).view(np.uint8).data
        self.encoder.codec.decode(
            [memoryview(chunk) for chunk in rows.chunks], chunk_rows * self.spec.row_bytes, target
        )
        return out[: rows.num_rows]

    def _write_rows(self, rows: Array) -> None:
        if self._on_rows is not None:
            self._on_rows(rows)
        self._write(self.encoder.encode(rows))

    def _write(self, rows: EncodedRows) -> None:
        self._store.write_chunks(self.spec.name, rows.chunks)
        self.digest.update(rows.digests)
        self.num_rows += rows.num_rows

    def flush(self) -> None:
        """Write the rows that are left; nothing can be appended after them."""
        self._write_pending()
        self._pending = None
