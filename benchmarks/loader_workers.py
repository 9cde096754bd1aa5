"""Reading ahead in threads, against processes that hand over batches in shared memory.

    .venv/bin/python benchmarks/loader_workers.py BUFFER [--batch-size 32] [--batches 300] [--rounds 9]

The consumer takes batches as fast as they come; all take turns, round by round, in one process, warm page cache. The
processes are the plainest thing that works: a pipe for the rows that are drawn, a slot of shared memory for the batch,
and one copy out of it, as the slot is used again, into memory that is recycled as that of all batches is. There are
threads only in `rlbuffers`: this shows why.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections import deque
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np

import rlbuffers
from rlbuffers.reading.recycling import RecycledArrays

Array = np.ndarray[Any, Any]
PREFETCH = 4
ALIGNMENT = 64


class Slots:
    """Batches of one shape in shared memory."""

    def __init__(self, example: dict[str, Array], memory: SharedMemory | None = None) -> None:
        self._places: dict[str, tuple[Any, tuple[int, ...], int]] = {}
        self._size = 0
        for name, values in example.items():
            self._places[name] = (values.dtype, values.shape, self._size)
            self._size += -(-values.nbytes // ALIGNMENT) * ALIGNMENT
        self.memory = memory or SharedMemory(create=True, size=self._size * (PREFETCH + 1))

    def arrays(self, slot: int) -> dict[str, Array]:
        """Return views of one slot."""
        return {
            name: np.ndarray(shape, dtype, self.memory.buf, slot * self._size + offset)
            for name, (dtype, shape, offset) in self._places.items()
        }


def work(path: Path, slots: Slots, connection: Connection) -> None:
    """Read what is asked for until nothing more is."""
    with rlbuffers.open(path) as buffer:
        while (task := connection.recv()) is not None:
            slot, rows = task
            read = buffer.rows(rows)
            for name, values in slots.arrays(slot).items():
                values[...] = read[name]
            connection.send(slot)


class ProcessLoader:
    """A loader whose workers are processes."""

    def __init__(self, path: Path, sampler: Any, workers: int) -> None:
        self._slots = Slots(sampler.sample())
        self._sampler = sampler
        self._memory = RecycledArrays()
        self._count = 0
        self._pending: deque[Connection] = deque()
        context = multiprocessing.get_context("fork")
        self._connections, self._processes = [], []
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(path, self._slots, theirs))
            process.start()
            self._connections.append(ours)
            self._processes.append(process)

    def __next__(self) -> dict[str, Array]:
        while len(self._pending) <= PREFETCH:
            connection = self._connections[self._count % len(self._connections)]
            connection.send((self._count % (PREFETCH + 1), self._sampler.draw().items))
            self._pending.append(connection)
            self._count += 1
        slot = self._pending.popleft().recv()
        batch = {}
        for name, values in self._slots.arrays(slot).items():
            batch[name] = self._memory.empty(values.shape, values.dtype)
            batch[name][...] = values
        return batch

    def close(self) -> None:
        """End the processes and free the memory."""
        for connection, process in zip(self._connections, self._processes, strict=True):
            connection.send(None)
            process.join()
        self._slots.memory.close()
        self._slots.memory.unlink()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("buffer", type=Path)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--batches", type=int, default=300, help="in each round")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    with rlbuffers.open(args.buffer) as buffer:
        loaders: dict[str, Any] = {
            f"{workers} processes": ProcessLoader(args.buffer, buffer.sampler(args.batch_size), workers)
            for workers in (1, 2)
        }
        for workers in (0, 1, 2):
            sampler = buffer.sampler(args.batch_size)
            loaders[f"{workers} threads"] = sampler.loader(prefetch=PREFETCH, workers=workers)
        speeds: dict[str, list[float]] = {name: [] for name in loaders}
        for round_number in range(args.rounds + 1):
            for name, loader in loaders.items():
                started = time.perf_counter()
                for _ in range(args.batches):
                    next(loader)
                if round_number:  # the first one warms up
                    speeds[name].append(args.batches * args.batch_size / (time.perf_counter() - started))
        for loader in loaders.values():
            loader.close()
    print(f"{os.cpu_count()} cores, batches of {args.batch_size}, {args.rounds} rounds of {args.batches} batches")
    for name, results in speeds.items():
        print(f"{name}: {statistics.median(results):,.0f} transitions/s ({min(results):,.0f} to {max(results):,.0f})")


if __name__ == "__main__":
    main()
