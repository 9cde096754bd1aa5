"""A table as a source, whatever its items are read from: the columns, the rows, and what is said about them.

Items that are one step with its next observation, or two consecutive steps of which the second only gives the next
observation, become independent transitions. Items of more steps become episodes, see ``windows.py``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlbuffers.episode import Episode, Transitions
from rlbuffers.errors import FormatError
from rlbuffers.listing import listed
from rlbuffers.reader_versions import source_facts
from rlbuffers.schema import (
    ACTIONS,
    REWARDS,
    TERMINALS,
    TIMEOUTS,
    BufferSpec,
    ColumnSpec,
    Order,
    is_observation,
    next_name,
)
from rlbuffers.sources.base import Rows, RowSource
from rlbuffers.sources.field_names import DISCOUNTS
from rlbuffers.sources.flat_columns import flat_column
from rlbuffers.sources.reverb.remarks import ACROSS, BEYOND, ITEMS, NO_PAIR, left_out_of, notes_of, warnings_of
from rlbuffers.sources.reverb.shapes import ItemShape, is_next
from rlbuffers.sources.reverb.windows import VOID, Window, cut_window
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["TableItem", "TableSource"]

Array = np.ndarray[Any, Any]
_FLAGS = (TERMINALS, TIMEOUTS)
_NUMBERS = (REWARDS, DISCOUNTS, *_FLAGS)
_BATCH_ITEMS = 4096
_BATCH_BYTES = 16 << 20


@dataclass(frozen=True)
class TableItem:
    """One item, its rows under the names of the buffer.

    Parameters
    ----------
    where : str
        Names the item in error messages.
    rows : mapping of name to array
        With an axis of time.
    facts : mapping of name to value
        One value for each of the table's facts.
    cuts : sequence of int
        Rows of the observations from which on another episode of the writer begins.
    crosses : bool
        Whether its rows, of whatever column, are of more than one episode of the writer.
    begins : bool
        Whether its first row is an episode's first.
    """

    where: str
    rows: Mapping[str, Array]
    facts: Mapping[str, Any]
    cuts: Sequence[int] = ()
    crosses: bool = False
    begins: bool = False


class TableSource(RowSource[Rows]):
    """The items of a table, in the order in which they come.

    Parameters
    ----------
    columns : mapping of name to ColumnSpec
        What one row of each column is, as the table has it.
    shape : ItemShape
        What the items are.
    facts : sequence of ColumnSpec
        What each item has beside its rows.
    order : {"time", "shuffled"}
        Of the items.
    left_out : sequence of str
        What of the table is not in `columns`.

    Raises
    ------
    FormatError
        If rewards, discounts or flags are not one number a step.
    """

    def __init__(
        self,
        columns: Mapping[str, ColumnSpec],
        shape: ItemShape,
        facts: Sequence[ColumnSpec],
        order: Order,
        left_out: Sequence[str],
    ) -> None:
        self._columns = columns
        self._shape = shape
        self._facts = {fact.name: fact for fact in facts if fact.name not in columns}
        self._order: Order = order
        taken = [fact.name for fact in facts if fact.name in columns]
        self._left_out = [*left_out, *(f"the items' {name}: the table has a column of that name" for name in taken)]
        self._counters: Counter[str] = Counter()
        self._first_terminals = 0
        self._second_terminals = 0
        self._num_rows = 0
        self._num_episodes = 0
        self._reward_sum = 0.0
        for name in _NUMBERS:
            if name in columns and columns[name].shape not in ((), (1,)):
                raise FormatError(
                    f"{self.where}: expected one number a step in {name!r}, found rows of shape {columns[name].shape}"
                )

    @property
    def spec(self) -> BufferSpec:
        """Transitions or episodes, with every column of the table."""
        columns = {name: self._flat(column) for name, column in self._columns.items()}
        columns.setdefault(TERMINALS, ColumnSpec(TERMINALS, np.dtype(np.bool_)))
        if self._shape.kind == "window":
            once = [columns.pop(name) for name in self._shape.facts]
            columns = {name: column for name, column in columns.items() if not is_next(name)}
            return BufferSpec("episodes", columns, episode_columns=[*once, *self._facts.values()])
        for name in [name for name in columns if is_observation(name)]:
            column = columns[name]
            columns[next_name(name)] = ColumnSpec(next_name(name), column.dtype, column.shape)
        return BufferSpec("transitions", {**columns, **self._facts}, order=self._order)

    def _flat(self, column: ColumnSpec) -> ColumnSpec:
        if column.name not in _NUMBERS:
            return column
        return ColumnSpec(column.name, np.dtype(np.bool_) if column.name in _FLAGS else column.dtype)

    @abstractmethod
    def items(self) -> Iterator[TableItem]:
        """Yield the items; can be called once."""

    def pieces(self) -> Iterator[Rows]:
        """Yield batches of transitions, or the episodes of each item."""
        if self._shape.kind == "window":
            yield from self._episodes()
        else:
            yield from self._transitions()

    def _checked_items(self) -> Iterator[TableItem]:
        for item in self.items():
            self._counters[ITEMS] += 1
            for name, rows in item.rows.items():
                column = self._columns[name]
                if (rows.dtype, rows.shape[1:]) != (column.dtype, column.shape):
                    raise FormatError(
                        f"{item.where}: expected rows of {column.dtype} {column.shape} in {name!r}, like the items "
                        f"before; found {rows.dtype} {rows.shape[1:]}"
                    )
            yield item

    def _transitions(self) -> Iterator[Transitions]:
        held: dict[str, list[Any]] = {}
        row_bytes = sum(column.row_bytes for column in self.spec.columns.values())
        most = max(min(_BATCH_ITEMS, _BATCH_BYTES // row_bytes), 1)
        for item in self._checked_items():
            if item.crosses or (self._shape.kind == "pair" and self._is_reset(item)):
                self._counters[ACROSS] += 1
                continue
            for name, row in self._transition_of(item).items():
                held.setdefault(name, []).append(row)
            for name in self._facts:
                held.setdefault(name, []).append(item.facts[name])
            if len(held[REWARDS]) == most:
                yield self._joined(held)
                held = {}
        if held:
            yield self._joined(held)

    def _transition_of(self, item: TableItem) -> dict[str, Array]:
        rows = {name: rows[:1] for name, rows in item.rows.items()}
        if self._shape.kind == "pair":
            rows |= {next_name(name): both[1:] for name, both in item.rows.items() if is_observation(name)}
        return rows

    def _is_reset(self, item: TableItem) -> bool:
        """Whether the second step of a pair is another episode's first, and count terminals that are a second step."""
        if len(item.rows[REWARDS]) == 1:
            return False
        second = {name: rows[1] for name, rows in item.rows.items()}
        is_void = not any(second[name].any() for name in (ACTIONS, REWARDS, DISCOUNTS) if name in second)
        if TERMINALS in second:
            self._second_terminals += bool(second[TERMINALS].any())
        elif not is_void:
            self._second_terminals += not second[DISCOUNTS].any()
        return TIMEOUTS in item.rows and bool(item.rows[TIMEOUTS][0].any()) and not is_void

    def _joined(self, held: Mapping[str, list[Any]]) -> Transitions:
        rows = {
            name: np.array(values, self._facts[name].dtype) if name in self._facts else np.concatenate(values)
            for name, values in held.items()
        }
        self._count(rows[REWARDS])
        rows = self._with_flags(rows)
        self._first_terminals += int(rows[TERMINALS].sum())
        return Transitions.from_columns(rows, self.spec)

    def _count(self, rewards: Array) -> None:
        self._num_rows += len(rewards)
        self._reward_sum += total_reward(rewards)

    def _with_flags(self, rows: Mapping[str, Array]) -> dict[str, Array]:
        """Return rewards, discounts and flags of shape (L,), terminals where the discounts are 0 if there are none."""
        found = {name: flat_column(name, values, self.where) for name, values in rows.items()}
        if DISCOUNTS in found:
            found[DISCOUNTS] = found[DISCOUNTS].reshape(len(found[REWARDS]))
            found.setdefault(TERMINALS, found[DISCOUNTS] == 0)
        return found

    def _episodes(self) -> Iterator[Episode]:
        for item in self._checked_items():
            window = self._window_of(item)
            self._count(item.rows[REWARDS])
            for episode in cut_window(window, self._counters):
                self._num_episodes += 1
                yield episode

    def _window_of(self, item: TableItem) -> Window:
        length = len(item.rows[REWARDS])
        facts = {name: item.facts[name] for name in self._facts}
        columns, observations = {}, {}
        for name, rows in item.rows.items():
            if name in self._shape.facts:
                facts[name] = rows[0]
                continue
            if len(rows) not in (length, length + 1) or (is_next(name) and len(rows) != length):
                counts = listed(f"{len(rows)} of {name!r}" for name, rows in item.rows.items())
                raise FormatError(
                    f"{item.where}: expected as many steps in each column, or one observation more; found {counts}"
                )
            if is_observation(name):
                observations[name] = rows
            else:
                self._counters[BEYOND] += len(rows) - length
                columns[name] = rows[:length]
        if len({len(rows) for rows in observations.values()}) > 1:
            observations = {name: rows[:length] for name, rows in observations.items()}
        return Window(
            columns=self._with_flags(columns),
            observations=observations,
            cuts=item.cuts,
            facts=facts,
            begins=item.begins,
            terminals_are_discounts=TERMINALS not in self._columns,
        )

    def tally(self) -> Tally:
        """Count the steps that items have, without those that are none, and their rewards."""
        if self._shape.kind == "window":
            return Tally(self._num_episodes, self._num_rows - self._counters[VOID], self._reward_sum)
        return Tally(None, self._num_rows, self._reward_sum)

    def metadata(self) -> dict[str, Any]:
        """Describe the table; `source_facts` says where it is from."""
        if self._second_terminals > self._first_terminals:
            self._counters[NO_PAIR] = self._second_terminals - self._first_terminals
        counted = {name: count for name, count in sorted(self._counters.items()) if count or name == ITEMS}
        return {
            "environment": {},
            "behavior_policy": {},
            "source": source_facts("reverb", **self.source_facts()),
            "measurements": counted,
            "warnings": warnings_of(self._counters),
            "left_out": [*self._left_out, *left_out_of(self._counters, self._shape)],
            "license": "",
            "citation": "",
            "notes": notes_of(self._shape, self._columns),
        }

    @abstractmethod
    def source_facts(self) -> dict[str, Any]:
        """Return what stands in the metadata's ``source`` beside the format."""
