"""Blocks of neighbouring rows that stay decoded while they are drawn from, for buffers larger than RAM."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbuffers.errors import UsageError
from rlbuffers.schema import NEXT_OBSERVATIONS, OBSERVATIONS

if TYPE_CHECKING:
    from rlbuffers.table import Table

__all__ = ["CachedBlocks", "ShuffledBlocks"]

Array = np.ndarray[Any, Any]
Indices = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class ShuffledBlocks:
    """Settings of reading in shuffled blocks.

    Parameters
    ----------
    block_items : int
        Number of neighbours in a block. More read faster, fewer are more random.
    blocks_at_once : int
        Number of blocks that batches are drawn from at a time. More are more random, and take more memory.
    memory_bytes : int
        Limit of what is kept decoded of these blocks and of the next ones. Columns that do not fit, and
        stacks of frames, whose chunks are small, are read where they are drawn.
    """

    block_items: int = 1024
    blocks_at_once: int = 64
    memory_bytes: int = 1 << 28

    def __post_init__(self) -> None:
        if min(self.block_items, self.blocks_at_once) < 1 or self.memory_bytes < 0:
            raise UsageError(f"blocks and their numbers must be positive, got {self}")


class CachedBlocks:
    """Rows of a buffer, read a block at a time and kept decoded as long as they are likely to be drawn.

    Parameters
    ----------
    buffer : Table
        Where to read; not closed.
    columns : sequence of str
        What will be asked for.
    blocks : ShuffledBlocks
        Sizes and the limit of memory.
    """

    def __init__(self, buffer: Table, columns: Sequence[str], blocks: ShuffledBlocks) -> None:
        self._made_from = buffer, tuple(columns), blocks
        self._buffer = buffer
        self._block_rows = blocks.block_items
        self._num_slots = 2 * blocks.blocks_at_once  # those being drawn from, and the next ones
        self._kept: dict[str, Array] = {}
        num_rows = self._num_slots * self._block_rows
        left = blocks.memory_bytes
        specs = [buffer.spec.batch_column(name) for name in columns if not self._is_stacked(name)]
        for spec in sorted(specs, key=lambda spec: spec.row_bytes):
            left -= spec.row_bytes * num_rows
            if left >= 0:
                self._kept[spec.name] = np.empty((num_rows, *spec.shape), spec.dtype)
        self._slots: OrderedDict[int, int] = OrderedDict()  # block to slot, least recently used first
        self._lock = threading.Lock()

    def _is_stacked(self, name: str) -> bool:
        return bool(self._buffer.spec.stack) and name in (OBSERVATIONS, NEXT_OBSERVATIONS)

    def take(self, indices: Indices, columns: Sequence[str]) -> dict[str, Array]:
        """Return columns at rows, as `Table.take` does; safe to call from several threads."""
        numbers, which = np.unique(indices // self._block_rows, return_inverse=True)
        kept = [name for name in columns if name in self._kept]
        if len(numbers) > self._num_slots or not kept:
            return self._buffer.take(indices, columns)
        found = {}
        with self._lock:
            slots = np.array([self._slot_of(number) for number in numbers.tolist()], np.int64)
            places = slots[which] * self._block_rows + indices % self._block_rows
            for name in kept:
                found[name] = self._kept[name][places]
        found.update(self._buffer.take(indices, [name for name in columns if name not in self._kept]))
        return {name: found[name] for name in columns}

    def _slot_of(self, number: int) -> int:
        """Return where a block is; read it in place of the least recently used one if it is not there."""
        slot = self._slots.get(number)
        if slot is None:
            start = number * self._block_rows
            rows = np.arange(start, min(start + self._block_rows, len(self._buffer)))
            read = self._buffer.take(rows, list(self._kept))
            slot = len(self._slots) if len(self._slots) < self._num_slots else self._slots.popitem(last=False)[1]
            at = slot * self._block_rows
            for name, values in read.items():
                self._kept[name][at : at + len(rows)] = values
            self._slots[number] = slot
        self._slots.move_to_end(number)
        return slot

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process without what was read."""
        return CachedBlocks, self._made_from
