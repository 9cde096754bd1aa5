"""The columns of a batch, out of the stored arrays: plain ones, stacks of frames, next observations.

The rules by which the last two follow from what is stored are in docs/format.md. Where the frames of a stack
are, follows too: the stored ``stack_index``, which `validate` holds against these rules, takes 40 bytes a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from rlbuffers.errors import CorruptDataError
from rlbuffers.reading.gathering import Gather, GatheredColumn, compiled_gather
from rlbuffers.reading.stored_rows import StoredRows
from rlbuffers.schema import (
    EPISODE_LENGTHS,
    EPISODE_STARTS,
    FRAMES,
    NEXT_OBSERVATIONS,
    OBSERVATIONS,
    OVERRIDE_OBSERVATIONS,
    OVERRIDE_ROWS,
    BufferSpec,
    final_name,
)

__all__ = ["BatchColumns"]

Array = np.ndarray[Any, Any]
Indices = np.ndarray[Any, np.dtype[np.int64]]
_MAX_TABLED_ROWS = 1 << 23  # at four bytes each


class BatchColumns:
    """Reads columns at rows. Threads may read at once.

    Parameters
    ----------
    spec : BufferSpec
        What the buffer holds.
    arrays : mapping of str to StoredRows
        The stored arrays by name.
    num_rows : int
        Number of transitions.
    """

    def __init__(self, spec: BufferSpec, arrays: Mapping[str, StoredRows], num_rows: int) -> None:
        self._spec = spec
        self._arrays = arrays
        self._num_rows = num_rows
        self._gathers: dict[tuple[str, ...], Gather] = {}

    def take(self, rows: Indices, names: Sequence[str]) -> dict[str, Array]:
        """Return columns at rows, shape (B, *row) each.

        Parameters
        ----------
        rows : int64, shape (B,)
            Between 0 and the number of transitions, in any order, repeats allowed.
        names : sequence of str
            Columns that exist.
        """
        batch = self._gathered(rows, names)
        for name in names:
            if name in batch:
                continue
            if self._is_stacked(name):
                batch.update(self._stacks(rows, names))
            elif self._is_stored(name):
                batch[name] = self._arrays[name].take(rows)
            else:
                batch[name] = self._next_observations(name, rows)
        return {name: batch[name] for name in names}

    def _is_stacked(self, name: str) -> bool:
        return bool(self._spec.stack) and name in (OBSERVATIONS, NEXT_OBSERVATIONS)

    def _is_stored(self, name: str) -> bool:
        return name in self._arrays and name in self._spec.columns

    def _gathered(self, rows: Indices, names: Sequence[str]) -> dict[str, Array]:
        """Return the columns that are in memory, if all are there that are to be; else none."""
        wanted = tuple(names)
        gather = self._gathers.get(wanted)
        if gather is None:
            gather = self._new_gather(wanted)
            if gather is None:
                return {}
            self._gathers[wanted] = gather
        if not gather or not len(rows):
            return {}
        rows = np.ascontiguousarray(rows)
        if not gather.follows:
            return gather.take(rows, rows, is_table=False)
        is_table = self._has_table
        return gather.take(rows, self._episode_numbers if is_table else self.episodes_at(rows), is_table=is_table)

    def _new_gather(self, names: Sequence[str]) -> Gather | None:
        columns: list[GatheredColumn] = []
        for name in names:
            if self._is_stacked(name):
                continue
            sources = self._sources_of(name)
            kept = [source.kept for source in sources if source.kept is not None]
            if len(kept) == len(sources):
                columns.append(GatheredColumn(name, *kept))
            elif all(source.place == "decoded" for source in sources):
                return None  # it gets there by being read
        loop = compiled_gather()
        return None if loop is None else Gather(loop, columns, self._lasts)

    def _sources_of(self, name: str) -> list[StoredRows]:
        if self._is_stored(name):
            return [self._arrays[name]]
        observation = OBSERVATIONS + name.removeprefix(NEXT_OBSERVATIONS)
        return [self._arrays[observation], self._arrays[final_name(observation)]]

    def _stacks(self, rows: Indices, names: Sequence[str]) -> dict[str, Array]:
        """Gather the frames of each transition once and show them as two overlapping stacks."""
        depth = self._spec.stack
        windows = self._own_frames(rows) if self._spec.layout == "transitions" else self._episode_frames(rows, names)
        stacks = {OBSERVATIONS: windows[:, :depth], NEXT_OBSERVATIONS: windows[:, -depth:]}
        if NEXT_OBSERVATIONS in names and len(self._override_rows):
            stacks[NEXT_OBSERVATIONS] = self._with_overrides(rows, stacks[NEXT_OBSERVATIONS])
        return {name: stack for name, stack in stacks.items() if name in names}

    def _own_frames(self, rows: Indices) -> Array:
        """Return the frames of independent transitions, each of which has its own, as a rule in a chunk."""
        frames, length = self._arrays[FRAMES], self._spec.stack + 1
        return frames.chunks(rows) if frames.chunk_rows == length else frames.runs(rows * length, length)

    def _episode_frames(self, rows: Indices, names: Sequence[str]) -> Array:
        """Return those frames that the wanted stacks are made of."""
        firsts, length = rows + self.episodes_at(rows) * self._spec.stack, self._spec.stack + 1
        if NEXT_OBSERVATIONS not in names:
            length -= 1
        elif OBSERVATIONS not in names:
            firsts, length = firsts + 1, length - 1
        return self._arrays[FRAMES].runs(firsts, length)

    def _with_overrides(self, rows: Indices, stacks: Array) -> Array:
        places = np.searchsorted(self._override_rows, rows)
        hit = places < len(self._override_rows)
        hit[hit] = self._override_rows[places[hit]] == rows[hit]
        if hit.any():
            stacks = stacks.copy()
            stacks[hit] = self._arrays[OVERRIDE_OBSERVATIONS].take(places[hit])
        return stacks

    def _next_observations(self, name: str, rows: Indices) -> Array:
        observation = OBSERVATIONS + name.removeprefix(NEXT_OBSERVATIONS)
        episodes = self.episodes_at(rows)
        at_end = self._lasts[episodes] == rows
        following = self._arrays[observation].take(np.where(at_end, rows, rows + 1))
        if at_end.any():
            following[at_end] = self._arrays[final_name(observation)].take(episodes[at_end])
        return following

    def episodes_at(self, rows: Indices) -> Indices:
        """Return the number of the episode that holds each row, int64, shape (B,)."""
        if self._has_table:
            return self._episode_numbers[rows].astype(np.int64)
        return np.searchsorted(self.episode_starts, rows, side="right") - 1

    @property
    def _has_table(self) -> bool:
        return self._num_rows <= _MAX_TABLED_ROWS

    @cached_property
    def _episode_numbers(self) -> np.ndarray[Any, np.dtype[np.int32]]:
        """The episode of every row: looked up ten times as fast as found among the starts."""
        numbers = np.repeat(np.arange(len(self.episode_starts), dtype=np.int32), self.episode_lengths)
        if len(numbers) != self._num_rows:
            raise CorruptDataError(f"the episodes have {len(numbers):,} rows, but the buffer {self._num_rows:,}")
        return numbers

    @cached_property
    def _lasts(self) -> Indices:
        return self.episode_starts + self.episode_lengths - 1

    @cached_property
    def episode_starts(self) -> Indices:
        """First row of each episode; none in the ``transitions`` layout."""
        return self._episode_array(EPISODE_STARTS)

    @cached_property
    def episode_lengths(self) -> Indices:
        """Number of rows of each episode."""
        return self._episode_array(EPISODE_LENGTHS)

    def _episode_array(self, name: str) -> Indices:
        return self._arrays[name].all() if name in self._arrays else np.empty(0, np.int64)

    @cached_property
    def _override_rows(self) -> Indices:
        rows = self._arrays.get(OVERRIDE_ROWS)
        return np.empty(0, np.int64) if rows is None else rows.all()
