"""Hand-made Dopamine replay logs: a ring buffer that behaves as Dopamine's does, one row at a time."""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

SIZE = (3, 2)
STORES = ("observation", "action", "reward", "terminal")


def write_npy(path: Path, array: Any, *, pickled: bool = False) -> Path:
    """Write a gzipped ``.npy`` stream."""
    stream = io.BytesIO()
    np.save(stream, np.asarray(array), allow_pickle=pickled)
    path.write_bytes(gzip.compress(stream.getvalue()))
    return path


def write_checkpoint(folder: Path, number: int, arrays: Mapping[str, Any]) -> None:
    """Write the files of a checkpoint: the four stores, add_count, and whatever else is given."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        write_npy(folder / f"{'$store$_' if name in STORES else ''}{name}_ckpt.{number}.gz", array)


class Ring:
    """A replay buffer, which dumps itself when all rows but one are written, as in DQN Replay's runs, or when told.

    Every step has a number from 1 on, which is its action and stands in its frame; `rows` lists the numbers in the
    order of the ring's rows, with 0 for padding.
    """

    def __init__(self, folder: Path, capacity: int, *, dumps_itself: bool = True) -> None:
        self.folder = folder
        self.rows: list[int] = []
        self.dumped: list[int] = []  # for each dump, the rows that had been added
        self._capacity = capacity
        self._dumps_itself = dumps_itself
        self._store = {
            # What was never written holds anything.
            "observation": np.full((capacity, *SIZE), 99, np.uint8),
            "action": np.full(capacity, 99, np.int32),
            "reward": np.full(capacity, 99, np.float32),
            "terminal": np.full(capacity, 9, np.uint8),
        }

    def add(self, step: int, *, terminal: bool, starts: bool = False) -> None:
        """Store a step; `starts` for one that follows an end which was no terminal."""
        if starts or not self.rows or self._store["terminal"][(len(self.rows) - 1) % self._capacity] == 1:
            for _ in range(3):
                self._write(0, terminal=False)
        self._write(step, terminal=terminal)
        if self._dumps_itself and len(self.rows) % self._capacity == self._capacity - 1:
            self.dump(len(self.rows))

    def _write(self, step: int, *, terminal: bool) -> None:
        row = len(self.rows) % self._capacity
        self._store["observation"][row] = frame_of(step)
        self._store["action"][row] = step
        self._store["reward"][row] = step % 3 - 1 if step else 0
        self._store["terminal"][row] = terminal
        self.rows.append(step)

    def dump(self, add_count: int | None = None) -> None:
        """Write the next checkpoint: the whole ring, and the number of rows ever added, or another one."""
        add_count = len(self.rows) if add_count is None else add_count
        invalid = (add_count % self._capacity + np.arange(-1, 4)) % self._capacity
        write_checkpoint(
            self.folder,
            len(self.dumped),
            {**self._store, "add_count": np.array(add_count), "invalid_range": invalid},
        )
        self.dumped.append(len(self.rows))

    def dump_final(self) -> None:
        """Dump what was written since the last time, as at the end of training."""
        self.dump(len(self.rows) % self._capacity)


def frame_of(step: int) -> np.ndarray:
    """Return the frame of a step, from which its number can be read; that of padding is black."""
    return np.full(SIZE, 0 if not step else step % 255 + 1, np.uint8)
