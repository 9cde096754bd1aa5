"""Tables of Reverb checkpoints, without Reverb and without TensorFlow.

A checkpoint holds the tables of a server at one moment. See ``directory.py`` for its files, ``tables.py`` and
``chunks.py`` for what is in them, and ``table.py`` for what becomes of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.decoding.claims import require_room
from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.listing import listed
from rlbuffers.schema import ColumnSpec, Order, is_observation
from rlbuffers.sources.files import file_facts
from rlbuffers.sources.reverb.chunks import Chunks
from rlbuffers.sources.reverb.directory import CHUNKS, ITEMS, TABLES, find_checkpoint
from rlbuffers.sources.reverb.names import NEEDED, target_names
from rlbuffers.sources.reverb.shapes import is_next, item_shape
from rlbuffers.sources.reverb.table import TableItem, TableSource
from rlbuffers.sources.reverb.tables import choose_table, names_of, read_items, read_tables
from rlbuffers.sources.reverb.tensors import dtype_of

__all__ = ["ReverbSource"]

Array = np.ndarray[Any, Any]


class ReverbSource(TableSource):
    """One table of a checkpoint, its items in the order in which they were inserted.

    The references of all items are held in memory (some 40 bytes for each column of an item); their rows are decoded
    as they are asked for. Chunks beyond 64 MB are copied to a temporary file, compressed as they are.

    Parameters
    ----------
    path : Path
        The directory of a checkpoint, or one with several; the newest finished one is read then.
    table : str, optional
        Name of the table; needed if there are several.
    names : mapping of str to str, optional
        Column of the table, or the part of nested names before a ``/``, to its name in the buffer.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such directory, it is no finished checkpoint, or damaged.
    UsageError
        If the table or a column in `names` does not exist, or there are several tables and no `table`.
    """

    def __init__(self, path: Path, table: str | None = None, names: Mapping[str, str] | None = None) -> None:
        self.path = find_checkpoint(path)
        self._table = choose_table(read_tables(self.path), table, str(self.path))
        self._items = read_items(self.path, self._table.name)
        keys, places = np.unique(self._items.chunk_keys, return_inverse=True)
        self._places: Array = places.reshape(-1)
        self._chunks = Chunks(self.path, keys)
        self._done = 0
        columns, left_out = self._name_columns(names or {})
        lengths = self._items.lengths
        squeezed = frozenset(
            name for number, name in self._targets.items() if bool(self._items.squeezed[:, number].all())
        )
        ranges = {
            name: (int(lengths[:, number].min()), int(lengths[:, number].max()))
            for number, name in self._targets.items()
        }
        self._check_sizes(columns)
        shape = item_shape(ranges, squeezed, self.where)
        self._observed = next(number for number, name in self._targets.items() if is_observation(name))
        first = self._items.bounds[self._observed :: lengths.shape[1]][: len(self._items)]
        self._episode_ids = self._chunks.episodes[self._places[first]]
        starts = self._chunks.first_steps[self._places[first]]
        self._steps = np.where(starts < 0, -1, starts + self._items.offsets[first])
        self._step_name = "first_steps" if shape.kind == "window" else "steps"
        facts = {"priorities": np.float64, "episode_ids": np.uint64, self._step_name: np.int64}
        super().__init__(
            columns,
            shape,
            [ColumnSpec(name, np.dtype(dtype)) for name, dtype in facts.items()],
            self._order_of_time(),
            [*left_out, "keys of the items, when they were inserted, and how often each was sampled"],
        )

    def _name_columns(self, chosen: Mapping[str, str]) -> tuple[dict[str, ColumnSpec], list[str]]:
        """Tell what each column is and becomes, from the first item; set `_targets`, by number of the column."""
        num_columns = self._items.lengths.shape[1]
        names = names_of(self._table, num_columns, self.where)
        kinds: list[tuple[np.dtype[Any] | str, tuple[int, ...]]] = []
        for number in range(num_columns):
            part = self._items.bounds[number]
            place = self._places[part]
            tensor = self._chunks.tensor(place, int(self._items.indices[part]))
            kinds.append((dtype_of(tensor.dtype, self._chunks.name(place)), tensor.shape[1:]))
        described = listed(f"{name!r} ({dtype} {shape})" for name, (dtype, shape) in zip(names, kinds, strict=True))
        targets = target_names(names, chosen, described, self.where)
        columns, left_out = {}, []
        self._targets: dict[int, str] = {}
        self._source_names: dict[str, str] = {}
        for number, (target, (dtype, shape)) in enumerate(zip(targets, kinds, strict=True)):
            if isinstance(dtype, str) or 0 in shape:
                if target in NEEDED or is_observation(target) or is_next(target):
                    raise FormatError(f"{self.where}: {names[number]!r} ({dtype} {shape}) cannot be stored")
                left_out.append(f"column {names[number]!r}, whose type {dtype} or shape {shape} cannot be stored")
                continue
            columns[target] = ColumnSpec(target, dtype, shape)
            self._targets[number] = target
            self._source_names[target] = names[number]
        return columns, left_out

    def _check_sizes(self, columns: Mapping[str, ColumnSpec]) -> None:
        for number, name in self._targets.items():
            most = int(self._items.lengths[:, number].max())
            where = f"{self.path / ITEMS}: an item of {most:,} rows of {name!r}"
            require_room(most * columns[name].row_bytes, self._chunks.most, where)

    def _order_of_time(self) -> Order:
        """Tell whether each item is one step after the one before, or begins an episode not seen before."""
        changes = self._episode_ids[1:] != self._episode_ids[:-1]
        follows = (np.diff(self._steps) == 1) & (self._steps[:-1] >= 0)
        is_in_order = (changes | follows).all() and int(changes.sum()) + 1 == len(np.unique(self._episode_ids))
        return "time" if is_in_order else "shuffled"

    @property
    def where(self) -> str:
        """Path of the checkpoint and name of the table."""
        return f"{self.path}: table {self._table.name!r}"

    def items(self) -> Iterator[TableItem]:
        """Yield the items, decoded."""
        items = self._items
        num_columns = items.lengths.shape[1]
        for item in range(len(items)):
            parts = slice(items.bounds[item * num_columns], items.bounds[(item + 1) * num_columns])
            episodes = self._chunks.episodes[self._places[parts]]
            crosses = bool((episodes != episodes[0]).any())
            self._done = item + 1
            yield TableItem(
                where=f"{self.where}: item {item}",
                rows={name: self._rows(item * num_columns + number) for number, name in self._targets.items()},
                facts={
                    "priorities": items.priorities[item],
                    "episode_ids": self._episode_ids[item],
                    self._step_name: self._steps[item],
                },
                cuts=self._cuts(item * num_columns + self._observed) if crosses else (),
                crosses=crosses,
                begins=bool(self._steps[item] == 0),
            )

    def _rows(self, column: int) -> Array:
        """Return the rows of a column of an item; columns are counted through all items."""
        items = self._items
        found = []
        for part in range(items.bounds[column], items.bounds[column + 1]):
            place, start = int(self._places[part]), int(items.offsets[part])
            stop = start + int(items.sizes[part])
            rows = self._chunks.rows(place, int(items.indices[part]))
            if stop > len(rows):
                raise CorruptDataError(
                    f"{self._chunks.name(place)}: an item refers to rows {start:,} to {stop:,} of {len(rows):,}"
                )
            found.append(rows if stop - start == len(rows) else rows[start:stop].copy())
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _cuts(self, column: int) -> list[int]:
        parts = slice(self._items.bounds[column], self._items.bounds[column + 1])
        episodes = self._chunks.episodes[self._places[parts]]
        stops = np.cumsum(self._items.sizes[parts])
        return [int(row) for row in stops[:-1][episodes[1:] != episodes[:-1]]]

    def source_facts(self) -> dict[str, Any]:
        """Name the checkpoint, its files, and what the table was."""
        return {
            "files": [file_facts(self.path / name) for name in (TABLES, ITEMS, CHUNKS)],
            "checkpoint": self.path.name,
            "table": {
                "name": self._table.name,
                "max_size": self._table.max_size,
                "max_times_sampled": self._table.max_times_sampled,
                "num_deleted_episodes": self._table.num_deleted_episodes,
                "num_unique_samples": self._table.num_unique_samples,
            },
            "columns": self._source_names,
        }

    @property
    def total(self) -> int:
        """Number of items."""
        return len(self._items)

    @property
    def done(self) -> int:
        """Number of items handed out."""
        return self._done
