"""Flat columns in an HDF5 file: what stands in it, and its rows in order.

Each chunk of the file is decoded once, however many columns of a table it cuts: rows are read in
bands of whole chunks, and what is ahead of the reader is held. Nothing of a size that the file
claims is allocated before that claim was held against the bytes that are stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rlbuffers.errors import FormatError
from rlbuffers.schema import REWARDS, ColumnSpec
from rlbuffers.sources.base import blamed_on
from rlbuffers.sources.flat_columns import flat_column, scalar_facts, sort_arrays
from rlbuffers.sources.hdf5_files import check_size, datasets_of, opened_hdf5

__all__ = ["HDF5Columns"]

Array = np.ndarray[Any, Any]
_BUFFER_ATTRIBUTE = "rlbuffers"
_BAND_BYTES = 1 << 20
_MAX_LISTED = 8


class HDF5Columns:
    """One file of flat arrays under the D4RL names.

    Parameters
    ----------
    path : Path
        The file. It is not kept open.
    ignore : str, default ""
        Name of a group at the root that is not looked into.

    Attributes
    ----------
    num_rows : int
        Length of the columns.
    columns : dict of str to ColumnSpec
        What the rows that are read look like: flags are bool, rewards one number.
    extras : dict of str to ColumnSpec
        Arrays that belong to the file as a whole.
    scalars : dict
        For the metadata, see `scalar_facts`.
    left_out : list of str
        What cannot be stored, a sentence each.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or it is not such a file; says what was expected.
    """

    def __init__(self, path: Path, ignore: str = "") -> None:
        self.path = path
        with opened_hdf5(self.path) as file:
            if _BUFFER_ATTRIBUTE in file.attrs:
                raise FormatError(f"{path}: expected another library's file, found an rlbuffers buffer")
            arrays, self.left_out = datasets_of(file, ignore)
            names = sort_arrays(arrays, str(path))
            for name in (*names.columns, *names.extras, *names.scalars):
                check_size(arrays[name], path)
            self.num_rows: int = arrays[REWARDS].shape[0]
            with blamed_on(path):
                self.columns = {name: _column(name, arrays[name], path) for name in names.columns}
                self.extras = {
                    name: ColumnSpec(name, arrays[name].dtype, arrays[name].shape[1:]) for name in names.extras
                }
            self.scalars, unsaid = scalar_facts({name: _scalar(arrays[name]) for name in names.scalars})
            self.left_out += [*names.left_out, *unsaid, *_unread_attributes(file)]

    def column(self, name: str) -> Array:
        """Read a whole column."""
        with opened_hdf5(self.path) as file:
            return _native(flat_column(name, file[name][:], str(self.path)))

    def read_extras(self) -> dict[str, Array]:
        """Read all extras."""
        with opened_hdf5(self.path) as file:
            return {name: _native(file[name][:]) for name in self.extras}

    def rows(self, spans: Iterable[tuple[int, int]], names: Sequence[str]) -> Iterator[dict[str, Array]]:
        """Yield rows `start` to `stop`, exclusive, of the named columns for each span.

        Parameters
        ----------
        spans : iterable of (start, stop)
            In ascending order; they may overlap.
        names : sequence of str
            Which columns.

        Raises
        ------
        CorruptDataError
            If the file is damaged.
        """
        with opened_hdf5(self.path) as file:
            readers = {name: _BandReader(file[name]) for name in names}
            for start, stop in spans:
                yield {
                    name: _native(flat_column(name, reader.read(start, stop), str(self.path)))
                    for name, reader in readers.items()
                }


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
            band = self._dataset[position : position + self._band_rows]
            parts.append(band[max(start - position, 0) :])
            position += len(band)
        joined = parts[0] if len(parts) == 1 else np.concatenate(parts)
        self._first, self._held = start, joined
        return joined[: stop - start]


def _column(name: str, array: h5py.Dataset, path: Path) -> ColumnSpec:
    row = flat_column(name, np.zeros((1, *array.shape[1:]), array.dtype), str(path))
    return ColumnSpec(name, row.dtype, row.shape[1:])


def _scalar(array: h5py.Dataset) -> Any:
    """Read a number or a text; a text of variable length is one in Python too, unless it is no UTF-8."""
    value = array[()]
    if array.dtype.kind == "O" and isinstance(value, bytes):
        with suppress(UnicodeDecodeError):
            return value.decode()
    return value


def _unread_attributes(file: h5py.File) -> list[str]:
    found = [f"/@{key}" for key in file.attrs]
    file.visititems(lambda name, item: found.extend(f"{name}@{key}" for key in item.attrs))
    more = f" and {len(found) - _MAX_LISTED} more" if len(found) > _MAX_LISTED else ""
    return [f"HDF5 attributes: {', '.join(found[:_MAX_LISTED])}{more}"] if found else []


def _native(rows: Array) -> Array:
    return rows.astype(rows.dtype.newbyteorder("="), copy=False)
