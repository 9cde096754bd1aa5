"""The tables of a checkpoint and the items of one of them.

Items are references only, and are held as flat arrays; their rows lie in chunks, see ``chunks.py``.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.decoding.protobuf_wire import MalformedError
from rlbuffers.errors import CorruptDataError, FormatError, UsageError
from rlbuffers.listing import listed, nearest
from rlbuffers.sources.reverb.directory import ITEMS, TABLES, read_messages
from rlbuffers.sources.reverb.protos import Item, Table, parse_item, parse_table
from rlbuffers.sources.reverb.signature import column_names

__all__ = ["Items", "choose_table", "names_of", "read_items", "read_tables"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Items:
    """The items of one table, oldest first: N items of C columns, each of one or more slices.

    Parameters
    ----------
    priorities : float64, shape (N,)
        Priority of each item.
    bounds : int64, shape (N * C + 1,)
        Column c of item i has the slices from ``bounds[i * C + c]`` to the next bound.
    lengths : int64, shape (N, C)
        Rows of each column.
    squeezed : bool, shape (N, C)
        Whether a column is one row that a client gets without an axis of time.
    chunk_keys : uint64, shape (S,)
        Chunk of each slice.
    offsets, sizes, indices : int64, shape (S,)
        First row and number of rows of each slice, and the tensor of the chunk that they are rows of.
    """

    priorities: Array
    bounds: Array
    lengths: Array
    squeezed: Array
    chunk_keys: Array
    offsets: Array
    sizes: Array
    indices: Array

    def __len__(self) -> int:
        return len(self.priorities)


def read_tables(checkpoint: Path) -> list[Table]:
    """Return the tables of a checkpoint, in the order of the file.

    Raises
    ------
    FormatError, CorruptDataError
        If the file is not of tables, damaged, or has none.
    """
    path = checkpoint / TABLES
    tables = []
    for number, record in read_messages(path):
        try:
            tables.append(parse_table(record))
        except MalformedError as error:
            raise CorruptDataError(f"{path}: record {number}: not a Reverb table") from error
    if not tables:
        raise FormatError(f"{path}: expected tables, found none")
    return tables


def choose_table(tables: Sequence[Table], name: str | None, where: str) -> Table:
    """Return the table of that name, or the only one.

    Raises
    ------
    UsageError
        If there is none of that name, or several and no name; lists them.
    """
    names = listed(repr(table.name) for table in tables)
    if name is None:
        if len(tables) > 1:
            raise UsageError(f"{where}: has the tables {names}; say which with --table")
        return tables[0]
    for table in tables:
        if table.name == name:
            return table
    hint = nearest(name, (table.name for table in tables))
    raise UsageError(f"{where}: has no table {name!r}; its tables are {names}{hint}")


def names_of(table: Table, num_columns: int, where: str) -> list[str]:
    """Return the names of a table's columns by its signature, or their numbers if it has none.

    Raises
    ------
    CorruptDataError
        If the signature cannot be read, or is of another number of columns.
    """
    if not len(table.signature):
        return [str(number) for number in range(num_columns)]
    try:
        names = column_names(table.signature)
    except MalformedError as error:
        raise CorruptDataError(f"{where}: table {table.name!r}: its signature is damaged") from error
    if len(names) != num_columns:
        raise CorruptDataError(
            f"{where}: table {table.name!r}: expected {len(names)} columns in its items, as the signature says "
            f"({listed(names)}); found {num_columns}"
        )
    return [name or str(number) for number, name in enumerate(names)]


def read_items(checkpoint: Path, table: str) -> Items:
    """Return the items of a table.

    Raises
    ------
    FormatError, CorruptDataError
        If the file is not of items or damaged, the table has no items, or they differ in the number of columns.
    """
    path = checkpoint / ITEMS
    building = _Building()
    for number, record in read_messages(path):
        try:
            item = parse_item(record)
        except MalformedError as error:
            raise CorruptDataError(f"{path}: record {number}: not a Reverb item") from error
        if item.table == table:
            building.add(item, f"{path}: record {number}")
    if not len(building.priorities):
        raise FormatError(f"{checkpoint}: table {table!r} has no items")
    return building.finish()


class _Building:
    """Items as they are read, in compact arrays."""

    def __init__(self) -> None:
        self.priorities = array("d")
        self._num_columns = 0
        self._bounds = array("q", [0])
        self._squeezed = array("b")
        self._keys, self._numbers = array("Q"), array("i")

    def add(self, item: Item, where: str) -> None:
        if item.is_old:
            raise FormatError(
                f"{where}: an item as Reverb wrote them before 2021; load the checkpoint with a present version and "
                "checkpoint again"
            )
        self._num_columns = self._num_columns or len(item.columns)
        if not item.columns or len(item.columns) != self._num_columns:
            raise CorruptDataError(
                f"{where}: expected {self._num_columns or 'some'} columns, like the items before; found "
                f"{len(item.columns)}"
            )
        self.priorities.append(item.priority)
        for column in item.columns:
            self._squeezed.append(column.squeeze)
            for part in column.slices:
                self._keys.append(part.chunk_key)
                self._numbers.extend(part[1:])
            self._bounds.append(len(self._keys))

    def finish(self) -> Items:
        bounds = np.frombuffer(self._bounds, np.int64)
        numbers = np.frombuffer(self._numbers, np.int32).reshape(-1, 3).astype(np.int64)
        lengths = np.add.reduceat(numbers[:, 1], bounds[:-1])
        shape = (len(self.priorities), self._num_columns)
        return Items(
            priorities=np.frombuffer(self.priorities, np.float64),
            bounds=bounds,
            lengths=lengths.reshape(shape),
            squeezed=np.frombuffer(self._squeezed, np.bool_).reshape(shape),
            chunk_keys=np.frombuffer(self._keys, np.uint64),
            offsets=numbers[:, 0],
            sizes=numbers[:, 1],
            indices=numbers[:, 2],
        )
