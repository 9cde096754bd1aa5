"""How fast a buffer is read on this machine: opening, random batches cold and warm, everything in order.

Every number is the median of rounds with the range beside it: on a shared machine a single number says little.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.errors import UsageError
from rlbuffers.inspecting.footprint import Footprint, footprint
from rlbuffers.paths import Url, located
from rlbuffers.reader import DEFAULT_CACHE_BYTES, Buffer
from rlbuffers.sizes import parse_bytes
from rlbuffers.stores import is_in_memory

__all__ = ["ReadSpeed", "Spread", "default_batch_size", "measure_read_speed"]

_VECTOR_BATCH = 256
_IMAGE_BATCH = 32
_IMAGE_BYTES = 4096
_ROUNDS = 7
_OPENINGS = 5
_SCAN_BYTES = 8 << 20
# Shares of the time that a measurement may take.
_COLD_SHARE = 0.15
_WARM_SHARE = 0.3
_LOADER_SHARE = 0.25
_SCAN_SHARE = 0.3


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of some rounds.

    Parameters
    ----------
    median, low, high : float
        In the unit of what is measured.
    rounds : int
        How many there were.
    """

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarize at least one value."""
        return cls(statistics.median(values), min(values), max(values), len(values))


@dataclass(frozen=True)
class ReadSpeed:
    """What was measured.

    Parameters
    ----------
    transitions, batch_size : int
        Size of the buffer and of a batch.
    open_seconds : Spread
        Opening and closing.
    cold_batch_seconds : Spread or None
        The first random batch after opening, the operating system having been asked to forget the file; columns
        that are kept in RAM are decoded for it. None for a buffer in memory, or where the system cannot be asked.
    warm_transitions_per_second : Spread
        Random batches, after one round that is not counted.
    loader_transitions_per_second : Spread
        The same batches through a loader, whose thread reads ahead while this one only takes them.
    warm_cache_bytes : int
        RAM in which columns may be kept decoded while that was measured.
    scan_bytes_per_second, scan_disk_bytes_per_second : Spread
        Every stored array from its first row to its last: decoded bytes, and bytes on disk.
    scanned_share : float
        Part of the buffer that the scan got through in its time, 1.0 for all of it.
    sizes : Footprint
        What each way of training costs in RAM.
    """

    transitions: int
    batch_size: int
    open_seconds: Spread
    cold_batch_seconds: Spread | None
    warm_transitions_per_second: Spread
    loader_transitions_per_second: Spread
    warm_cache_bytes: int
    scan_bytes_per_second: Spread
    scan_disk_bytes_per_second: Spread
    scanned_share: float
    sizes: Footprint

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON values."""
        return asdict(self)


def default_batch_size(buffer: Buffer) -> int:
    """Return what is usual in training: 32 for images, 256 for vectors."""
    names = buffer.spec.observation_names
    row_bytes = sum(buffer.spec.batch_column(name).row_bytes for name in names)
    return _IMAGE_BATCH if row_bytes >= _IMAGE_BYTES else _VECTOR_BATCH


def measure_read_speed(
    path: str | Path,
    *,
    batch_size: int | None = None,
    seconds: float = 5.0,
    seed: int = 0,
    cache: int | str = DEFAULT_CACHE_BYTES,
    on_step: Callable[[str], None] | None = None,
) -> ReadSpeed:
    """Measure in about `seconds`, the decoding of columns that are kept in RAM not counted.

    Parameters
    ----------
    path : str or Path
        The buffer.
    batch_size : int, optional
        Transitions in a batch; see `default_batch_size`.
    seconds : float, default 5
        Time to spend.
    seed : int, default 0
        Seed of the random rows.
    cache : int or str, default 1 GiB
        Budget of memory, as `rlbuffers.open` takes it.
    on_step : callable, optional
        Is told what is being measured.

    Raises
    ------
    UsageError
        If a number is not positive.
    """
    if seconds <= 0 or (batch_size is not None and batch_size < 1):
        raise UsageError(f"seconds and batch_size must be positive, got {seconds} and {batch_size}")
    cache_bytes = parse_bytes(cache)
    tell = on_step or (lambda step: None)
    tell("opening")
    opening = Spread.of(list(_opening_times(path, cache_bytes)))
    tell("the first batch, cold")
    cold = list(_first_batches(path, batch_size, cache_bytes, seconds * _COLD_SHARE))
    tell("random batches, warm")
    with Buffer(path, cache=cache_bytes) as buffer:
        size = batch_size or default_batch_size(buffer)
        warm = _rounds(buffer.sampler(size, seed).sample, seconds * _WARM_SHARE)
        tell("a loader")
        with buffer.loader(size, seed) as loader:
            loaded = _rounds(loader.__next__, seconds * _LOADER_SHARE)
        transitions, sizes = len(buffer), footprint(buffer)
    tell("everything in order")
    scan, share = _scan(path, seconds * _SCAN_SHARE)
    ratio = sizes.disk_bytes / max(sizes.decoded_bytes, 1)
    return ReadSpeed(
        transitions=transitions,
        batch_size=size,
        open_seconds=opening,
        cold_batch_seconds=Spread.of(cold) if cold else None,
        warm_transitions_per_second=Spread.of([size * speed for speed in warm]),
        loader_transitions_per_second=Spread.of([size * speed for speed in loaded]),
        warm_cache_bytes=cache_bytes,
        scan_bytes_per_second=Spread.of(scan),
        scan_disk_bytes_per_second=Spread.of([speed * ratio for speed in scan]),
        scanned_share=share,
        sizes=sizes,
    )


def _opening_times(path: str | Path, cache_bytes: int) -> Iterator[float]:
    for _ in range(_OPENINGS):
        started = time.perf_counter()
        Buffer(path, cache=cache_bytes).close()
        yield time.perf_counter() - started


def _first_batches(path: str | Path, batch_size: int | None, cache_bytes: int, seconds: float) -> Iterator[float]:
    """Yield the time of the first batch of a buffer that was forgotten and opened, each time of other rows.

    Nothing is yielded where the system cannot be asked to forget: in memory, and at an address.
    """
    place = located(path)
    if isinstance(place, Url) or is_in_memory(place) or not hasattr(os, "posix_fadvise"):
        return
    deadline = time.perf_counter() + seconds
    for seed in range(_OPENINGS):
        _forget(place)
        with Buffer(path, cache=cache_bytes) as buffer:
            sampler = buffer.sampler(batch_size or default_batch_size(buffer), seed)
            started = time.perf_counter()
            sampler.sample()
            yield time.perf_counter() - started
        if time.perf_counter() > deadline:
            return


def _forget(path: Path) -> None:
    """Ask the operating system to drop the buffer's files from its cache; what others have mapped stays."""
    for file in [path] if path.is_file() else [found for found in path.rglob("*") if found.is_file()]:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # what is not written yet cannot be dropped
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _times(work: Callable[[], object], seconds: float) -> Iterator[float]:
    """Yield how long each call takes, at least one, until the time is over."""
    deadline = time.perf_counter() + seconds
    while True:
        started = time.perf_counter()
        work()
        ended = time.perf_counter()
        yield ended - started
        if ended > deadline:
            return


def _rounds(work: Callable[[], object], seconds: float) -> list[float]:
    """Return calls per second in each round; a first round warms up."""
    share = seconds / (_ROUNDS + 1)
    speeds = []
    for _ in range(_ROUNDS + 1):
        times = list(_times(work, share))
        speeds.append(len(times) / sum(times))
    return speeds[1:]


def _scan(path: str | Path, seconds: float) -> tuple[list[float], float]:
    """Read the stored arrays in order, as far as the time allows, again if it allows; return bytes/s and the share.

    Of each array the same share is read, so that a scan which stops early has seen all kinds.
    """
    speeds: list[float] = []
    num_read, deadline = 0, time.perf_counter() + seconds
    with Buffer(path, cache=0) as buffer:
        whole = sum(rows.array.nbytes for rows in buffer.arrays.values())
        most_chunks = max(rows.array.num_chunks for rows in buffer.arrays.values())
        steps = min(max(whole // _SCAN_BYTES, 1), most_chunks)  # none of them without a chunk
        while not speeds or time.perf_counter() < deadline:
            for step in range(steps):
                started = time.perf_counter()
                count = _read_part(buffer, step, steps)
                num_read += count
                speeds.append(count / (time.perf_counter() - started))
                if time.perf_counter() > deadline:
                    break
    return speeds, min(num_read / max(whole, 1), 1.0)


def _read_part(buffer: Buffer, step: int, steps: int) -> int:
    """Read one of `steps` equal parts of every array; return the decoded bytes."""
    count = 0
    for rows in buffer.arrays.values():
        chunks = rows.array.num_chunks
        part = np.arange(chunks * step // steps, chunks * (step + 1) // steps)
        if len(part):
            count += rows.decode(part).nbytes
    return count
