"""What stands in a file that Tianshou's ``ReplayBuffer.save_hdf5`` wrote, and its rows in the order of time.

``_meta`` holds the rows: obs, act, rew, terminated, truncated, done, obs_next, info/..., policy/.... Old versions
have only ``done``, and other names for some of the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rlbuffers.errors import FormatError, SpecError
from rlbuffers.kept_facts import KeptFacts
from rlbuffers.listing import listed
from rlbuffers.schema import (
    ACTIONS,
    NEXT_OBSERVATIONS,
    OBSERVATIONS,
    REWARDS,
    TERMINALS,
    TIMEOUTS,
    BufferSpec,
    ColumnSpec,
    is_observation,
    next_name,
)
from rlbuffers.sources.base import blamed_on
from rlbuffers.sources.files import require_file
from rlbuffers.sources.flat_columns import flat_column
from rlbuffers.sources.hdf5_files import WrittenChunks, check_size, datasets_of, opened_hdf5
from rlbuffers.sources.hdf5_rows import rows_of
from rlbuffers.sources.tianshou.dump import (
    ARRAYS,
    ROWS,
    kind_of,
    numbers_of,
    refuse_others,
    refuse_pickles,
    whole_number,
)
from rlbuffers.sources.tianshou.ring import Ring, single_ring, vector_rings

__all__ = ["BEGINS", "DONE", "TianshouFile"]

Array = np.ndarray[Any, Any]
DONE = "done"
# An attribute of ours, at the data set `last_index`, where Tianshou does not look: whether the first row of a full
# buffer begins an episode. A buffer that Tianshou saves has lost it, as it must.
BEGINS = "rlbuffers_begins"
_NAMES = {
    "obs": OBSERVATIONS,
    "obs_next": NEXT_OBSERVATIONS,
    "act": ACTIONS,
    "rew": REWARDS,
    "terminated": TERMINALS,
    "truncated": TIMEOUTS,
    "info": "infos",
}
# What numbers were called before 0.4, and up to 1.1.
_RENAMED = {"_maxsize": "maxsize", "_stack": "stack_num", "_index": "_insertion_idx"}
_BOOKKEEPING = ("_indices", "last_index", "_lengths", "_offset", "_extend_offset", "_avail_index")
_SETTINGS = ("maxsize", "stack_num", "buffer_num", "cached_buffer_num")
_MAX_SUB_BUFFERS = 1 << 20
_MAX_STACK = 256
_NUMBERS = "biuf"
# Rows that are read at a time. Compressed files are read in whole chunks, which may be more.
_BLOCK_BYTES = 16 << 20
_MAX_BLOCK_BYTES = 256 << 20


class TianshouFile:
    """One saved buffer. The file is not kept open.

    Parameters
    ----------
    path : Path
        The file.

    Attributes
    ----------
    rings : list of Ring
        One for each environment; a plain ReplayBuffer has one.
    is_vector : bool
        Whether it was a buffer of several environments.
    columns : dict of str to ColumnSpec
        What the rows that are read look like, next observations included; rewards are one number, flags bool.
    settings : dict of str to number
        The buffer's options as far as they are plain numbers.
    left_out : list of str
        What is not read, a sentence each.
    kept : KeptFacts or None
        What our own export adds.
    warnings : list of str
        What was never written, a sentence each.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or it is not such a file; says what was expected.
    """

    def __init__(self, path: Path) -> None:
        self.path = require_file(path)
        refuse_pickles(path)
        with opened_hdf5(path) as file:
            refuse_others(file, path)
            datasets, self.left_out = datasets_of(file)
            arrays = {name: array for name, array in datasets.items() if kind_of(array) in ARRAYS}
            for array in arrays.values():
                check_size(array, path)
            numbers = numbers_of(file, datasets)
            self._numbers = {_RENAMED.get(name, name): number for name, number in numbers.items()}
            self.settings = {name: self._numbers[name] for name in _SETTINGS if name in self._numbers}
            self.stack_num = self._stack_num()
            self.is_vector = "_lengths" in datasets
            self.rings = self._vector_rings(arrays) if self.is_vector else [self._single_ring(arrays)]
            rows = {name: array for name, array in arrays.items() if name.startswith(f"{ROWS}/")}
            self._places = self._named(rows)
            self.columns = self._described(rows, list(datasets))
            self.kept = KeptFacts.of_attribute(rows[self._places[REWARDS]], str(path))
            self._unit = max((array.chunks[0] for array in rows.values() if array.chunks), default=1)
            self._say_what_else(datasets, set(numbers))
            written = WrittenChunks(path)
            needed = {self._places[name] for name in self._needed()}
            for name, array in arrays.items():
                written.look(array, name, is_needed=name in needed or name in _BOOKKEEPING)
            written.require()
            self.warnings = written.warnings

    @property
    def num_rows(self) -> int:
        """Number of transitions."""
        return sum(len(ring) for ring in self.rings)

    def whole(self, column: str) -> list[Array]:
        """Read a column, an array for each ring, oldest row first."""
        with opened_hdf5(self.path) as file:
            rows = self._read(file, column, 0, None)
        return [rows[ring.rows()] for ring in self.rings]

    def blocks(self, ring: Ring, names: Sequence[str]) -> Iterator[dict[str, Array]]:
        """Yield the rows of a ring, oldest first, some at a time."""
        row_bytes = max(sum(self.columns[name].row_bytes for name in names), 1)
        size = math.ceil(_BLOCK_BYTES / row_bytes / self._unit) * self._unit
        size = min(size, max(_MAX_BLOCK_BYTES // row_bytes, 1))
        with opened_hdf5(self.path) as file:
            for start, stop in ring.spans(size):
                yield {name: self._read(file, name, start, stop) for name in names}

    def _read(self, file: h5py.File, column: str, start: int, stop: int | None) -> Array:
        rows = flat_column(_like(column), rows_of(file[self._places[column]], start, stop), str(self.path))
        return rows.astype(self.columns[column].dtype, copy=False)

    def _stack_num(self) -> int:
        number = self.settings.get("stack_num", 1)
        if not 1 <= number <= _MAX_STACK:
            raise FormatError(f"{self.path}: expected a stack_num of 1 to {_MAX_STACK}, found {number:,}")
        return number

    def _single_ring(self, arrays: dict[str, h5py.Dataset]) -> Ring:
        size = self._number("_size")
        insertion = self._number("_insertion_idx")
        last = arrays.get("last_index")
        if last is not None and last.dtype.kind not in "iu":
            raise FormatError(f"{self.path}: expected a whole number in 'last_index', found {last.dtype}")
        begins = None if last is None else whole_number(last.attrs.get(BEGINS))
        return single_ring(
            str(self.path),
            capacity=self._number("maxsize"),
            size=size,
            insertion=insertion,
            last=int(last[0]) if last is not None and last.shape == (1,) else None,
            begins=None if begins is None else bool(begins),
        )

    def _number(self, name: str) -> int:
        if name not in self._numbers:
            raise FormatError(f"{self.path}: expected a number {name!r} among its attributes, as Tianshou writes it")
        return self._numbers[name]

    def _vector_rings(self, arrays: dict[str, h5py.Dataset]) -> list[Ring]:
        lengths, starts, lasts = (self._places_in(arrays, name) for name in ("_lengths", "_offset", "last_index"))
        end = int(self.settings.get("maxsize", 0))
        edges = self._places_in(arrays, "_extend_offset") if "_extend_offset" in arrays else [*starts, end]
        return vector_rings(str(self.path), edges=edges, lengths=lengths, lasts=lasts)

    def _places_in(self, arrays: dict[str, h5py.Dataset], name: str) -> list[int]:
        array = arrays.get(name)
        if array is None or array.ndim != 1 or array.dtype.kind not in "iu" or len(array) > _MAX_SUB_BUFFERS:
            raise FormatError(f"{self.path}: expected whole numbers in {name!r}, one for each sub-buffer")
        return [int(number) for number in rows_of(array)]

    def _named(self, rows: dict[str, h5py.Dataset]) -> dict[str, str]:
        """Return the name of the data set that holds each column."""
        places: dict[str, str] = {}
        for place in rows:
            first, slash, rest = place.removeprefix(f"{ROWS}/").partition("/")
            places.setdefault(f"{_NAMES.get(first, first)}{slash}{rest}", place)
        if TERMINALS not in places and DONE in places:
            places[TERMINALS] = places[DONE]
        return places

    def _described(self, rows: dict[str, h5py.Dataset], all_names: Sequence[str]) -> dict[str, ColumnSpec]:
        observed = [name for name in self._places if is_observation(name)]
        missing = [name for name in (ACTIONS, REWARDS, TERMINALS) if name not in self._places]
        if missing or not observed:
            words = {ACTIONS: "act", REWARDS: "rew", TERMINALS: "terminated or done"}
            wanted = listed([*([] if observed else ["obs"]), *(words[name] for name in missing)])
            found = listed(name.removeprefix(f"{ROWS}/") for name in all_names if name.startswith(f"{ROWS}/"))
            raise FormatError(f"{self.path}: expected arrays {wanted} in '{ROWS}'; found {found or 'none'}")
        columns = {name: self._column(name, rows[self._places[name]]) for name in self._needed()}
        done = columns.pop(DONE, None)
        self._require_storable(columns)
        for name in self._places:
            if name not in columns and name != DONE and not self._is_next(name):
                self._take_if_storable(name, rows[self._places[name]], columns)
        self._take_next_observations(rows, columns)
        return columns if done is None else {**columns, DONE: done}

    def _needed(self) -> list[str]:
        """Return the columns of which a buffer is made."""
        observed = [name for name in self._places if is_observation(name)]
        return [*observed, ACTIONS, REWARDS, TERMINALS, *({TIMEOUTS, DONE} & set(self._places))]

    def _column(self, name: str, array: h5py.Dataset) -> ColumnSpec:
        """Describe the rows of a data set that must be there."""
        end = max((ring.end for ring in self.rings), default=0)
        if not array.shape or len(array) < end:
            found = f"{len(array):,}" if array.shape else "a scalar"
            raise FormatError(f"{self.path}: expected at least {end:,} rows in {array.name!r}, found {found}")
        if array.dtype.kind not in _NUMBERS:
            raise FormatError(f"{self.path}: expected numbers in {array.name!r}, found {array.dtype}")
        if name == REWARDS and array.shape[1:] not in ((), (1,)):
            raise FormatError(
                f"{self.path}: expected one reward a row, found {array.shape[1:]}: rewards of several agents or aims "
                "cannot be stored; save a buffer of one of them"
            )
        row = flat_column(_like(name), np.zeros((1, *array.shape[1:]), array.dtype), str(self.path))
        with blamed_on(self.path):
            return ColumnSpec(name, row.dtype, row.shape[1:])

    def _require_storable(self, columns: dict[str, ColumnSpec]) -> None:
        with blamed_on(self.path):
            BufferSpec("episodes", columns)

    def _take_if_storable(self, name: str, array: h5py.Dataset, columns: dict[str, ColumnSpec]) -> None:
        try:
            column = self._column(name, array)
            BufferSpec("episodes", [*columns.values(), column])
        except (FormatError, SpecError):
            self.left_out.append(f"{array.name!r}, whose name, dtype {array.dtype} or shape {array.shape} does not fit")
        else:
            columns[name] = column

    def _is_next(self, name: str) -> bool:
        return name == NEXT_OBSERVATIONS or name.startswith(f"{NEXT_OBSERVATIONS}/")

    def _take_next_observations(self, rows: dict[str, h5py.Dataset], columns: dict[str, ColumnSpec]) -> None:
        """Take all of them, or none if they are not like the observations."""
        given = [name for name in self._places if self._is_next(name)]
        wanted = {next_name(name): column for name, column in columns.items() if is_observation(name)}
        described = {}
        for name in given:
            try:
                described[name] = self._column(name, rows[self._places[name]])
            except FormatError:
                break
        alike = set(described) == set(wanted) and all(
            (column.dtype, column.shape) == (wanted[name].dtype, wanted[name].shape)
            for name, column in described.items()
        )
        if alike:
            columns.update(described)
        elif given:
            self.left_out.append("obs_next, whose keys, dtypes or shapes are not those of obs")

    def _say_what_else(self, datasets: dict[str, h5py.Dataset], numbers: set[str]) -> None:
        pickled = [
            f"{name} ({kind_of(array)})"
            for name, array in datasets.items()
            if kind_of(array) not in ARRAYS and name not in numbers
        ]
        if pickled:
            self.left_out.append(f"pickled objects, which are never loaded: {listed(pickled)}")
        other = [
            name
            for name, array in datasets.items()
            if kind_of(array) in ARRAYS and not name.startswith(f"{ROWS}/") and name not in _BOOKKEEPING
        ]
        if other:
            self.left_out.append(f"arrays that are no rows: {listed(other)}")


def _like(column: str) -> str:
    """Return the column whose rows look the same."""
    return TERMINALS if column == DONE else column
