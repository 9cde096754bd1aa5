"""Flat columns in an HDF5 file: what stands in it, and its rows in order.

Each chunk of the file is decoded once, however many columns of a table it cuts: rows are read in
bands of whole chunks, and what is ahead of the reader is held. Nothing of a size that the file
claims is allocated before that claim was held against the bytes that are stored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rlbuffers.kept_facts import NAME, KeptFacts
from rlbuffers.listing import listed
from rlbuffers.schema import ACTIONS, REWARDS, TERMINALS, TIMEOUTS, is_observation
from rlbuffers.sources.flat_columns import is_storable
from rlbuffers.sources.flat_table import FlatTable
from rlbuffers.sources.hdf5_files import WrittenChunks, check_size, datasets_of, opened_hdf5
from rlbuffers.sources.hdf5_rows import rows_of

__all__ = ["HDF5Columns"]

Array = np.ndarray[Any, Any]
_BAND_BYTES = 1 << 20
_NEEDED = (ACTIONS, REWARDS, TERMINALS, TIMEOUTS)
_MAX_LISTED = 8


class HDF5Columns(FlatTable):
    """One HDF5 file of flat arrays; see `FlatTable`.

    Parameters
    ----------
    path : Path
        The file. It is not kept open.
    ignore : str, default ""
        Name of a group at the root that is not looked into.
    names, of_recordings
        See `FlatTable`.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or it is not such a file; says what was expected.
    UsageError
        If there is no array of a name in `names`.
    """

    def __init__(
        self, path: Path, ignore: str = "", names: Mapping[str, str] | None = None, *, of_recordings: bool = False
    ) -> None:
        with opened_hdf5(path) as file:
            self._datasets, left_out = datasets_of(file, ignore)
            for dataset in self._datasets.values():
                if not dataset.shape or (is_storable(dataset.dtype) and math.prod(dataset.shape)):
                    check_size(dataset, path)
            super().__init__(path, self._datasets, names, of_recordings=of_recordings)
            self.kept = KeptFacts.of_attribute(file, str(path))
            self.left_out = [*left_out, *self.left_out, *_unread_attributes(file)]
            self.warnings = self._unwritten()
        del self._arrays, self._datasets

    def _unwritten(self) -> list[str]:
        """Return warnings about what was never written; what has no name in the buffer are flags that are used."""
        written = WrittenChunks(self.path)
        roles = {source: name for name, source in self.called.items()}
        for source, dataset in self._datasets.items():
            role = roles.get(source)
            is_needed = role is None or role in _NEEDED or is_observation(role)
            written.look(dataset, source, is_needed=is_needed)
        written.require()
        return written.warnings

    def _read(self, name: str) -> Array:
        with opened_hdf5(self.path) as file:
            return _native(rows_of(file[name]))

    def _scalar(self, name: str) -> Any:
        """Read a number or a text; a text of variable length is one in Python too, unless it is no UTF-8."""
        value = self._datasets[name][()]
        if self._datasets[name].dtype.kind == "O" and isinstance(value, bytes):
            with suppress(UnicodeDecodeError):
                return value.decode()
        return value

    def _read_rows(self, spans: Iterable[tuple[int, int]], names: Sequence[str]) -> Iterator[dict[str, Array]]:
        with opened_hdf5(self.path) as file:
            readers = {name: _BandReader(file[name]) for name in names}
            for start, stop in spans:
                yield {name: _native(reader.read(start, stop)) for name, reader in readers.items()}


class _BandReader:
    """Reads rows of one dataset in ascending order, in bands of whole chunks."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._dataset = dataset
        unit = dataset.chunks[0] if dataset.chunks else 1
        row_bytes = max(dataset.nbytes // max(len(dataset), 1), 1)
        self._band_rows = unit * max(_BAND_BYTES // (unit * row_bytes), 1)
        self._first = 0
        self._held: Array = np.empty((0, *dataset.shape[1:]), dataset.dtype)

    def read(self, start: int, stop: int) -> Array:
        parts = [self._held[start - self._first :]] if start < self._first + len(self._held) else []
        position = self._first + len(self._held) if parts else start // self._band_rows * self._band_rows
        while position < stop:
            band = rows_of(self._dataset, position, position + self._band_rows)
            parts.append(band[max(start - position, 0) :])
            position += len(band)
        joined = parts[0] if len(parts) == 1 else np.concatenate(parts)
        self._first, self._held = start, joined
        return joined[: stop - start]


def _unread_attributes(file: h5py.File) -> list[str]:
    found = [f"/@{key}" for key in file.attrs if key != NAME]
    file.visititems(lambda name, item: found.extend(f"{name}@{key}" for key in item.attrs))
    return [f"HDF5 attributes: {listed(found, _MAX_LISTED)}"] if found else []


def _native(rows: Array) -> Array:
    return rows.astype(rows.dtype.newbyteorder("="), copy=False)
