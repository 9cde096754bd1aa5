"""The files of a Dopamine replay log, and which rows of each checkpoint are whose.

A checkpoint N is a ring buffer, dumped as gzipped ``.npy`` streams: ``$store$_observation_ckpt.N.gz``,
``$store$_action``, ``$store$_reward``, ``$store$_terminal``, and ``add_count``, the number of rows ever
added. The DQN Replay logs were dumped one row before the ring was full: the last row of a file is the
one before its row 0, and the last of its own epoch stands in the last row of the next file.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.decoding.npy_stream import NpyStream
from rlbuffers.errors import BufferNotFoundError, FormatError
from rlbuffers.sources.files import file_facts

__all__ = ["Checkpoint", "Columns", "Segment", "Survey", "find_checkpoints", "read_columns", "survey"]

Array = np.ndarray[Any, Any]
_NAME = re.compile(r"(?P<name>.+)_ckpt\.(?P<number>\d+)\.gz")
_COLUMNS = ("action", "reward", "terminal")
_STORES = ("observation", *_COLUMNS)
_COUNTERS = ("add_count", "invalid_range")
_COLUMN_KINDS = {"action": "iu", "reward": "fiu", "terminal": "biu"}
# Sixteen times what the DQN Replay logs have; their small columns are held in memory.
_MAX_ROWS = 1 << 24
_MAX_FRAME_BYTES = 1 << 20
_BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class Checkpoint:
    """One dump: its files' headers are read and fit each other.

    Parameters
    ----------
    folder : Path
        Where the files are.
    number : int
        The N of their names.
    capacity : int
        Rows of the ring.
    add_count : int
        Rows ever added; in a final, partial dump those of this dump.
    size : (int, int)
        Height and width of a frame.
    action_dtype, reward_dtype : numpy.dtype
        As stored.
    """

    folder: Path
    number: int
    capacity: int
    add_count: int
    size: tuple[int, int]
    action_dtype: np.dtype[Any]
    reward_dtype: np.dtype[Any]

    @property
    def cursor(self) -> int:
        """The row that would be written next."""
        return self.add_count % self.capacity

    @property
    def ends_before_last_row(self) -> bool:
        """Whether it was dumped one row before the ring was full, as the DQN Replay logs are."""
        return self.cursor == self.capacity - 1

    def path(self, name: str) -> Path:
        """Return the file of a column or counter."""
        return _path(self.folder, name, self.number)

    def other_files(self) -> list[str]:
        """Return the names of files of this checkpoint that are not read."""
        read = {self.path(name).name for name in (*_STORES, *_COUNTERS)}
        found = (match for path in self.folder.iterdir() if (match := _NAME.fullmatch(path.name)))
        return sorted(match[0] for match in found if int(match["number"]) == self.number and match[0] not in read)


@dataclass(frozen=True)
class Columns:
    """Everything of a checkpoint but the frames.

    Parameters
    ----------
    actions, rewards : array of shape (capacity,)
        As stored, in native byte order.
    terminals : bool, shape (capacity,)
        Whether the stored value is not 0.
    """

    actions: Array
    rewards: Array
    terminals: Array


@dataclass(frozen=True)
class Survey:
    """What one reading of a checkpoint tells.

    Parameters
    ----------
    checkpoint : Checkpoint
        What was read.
    columns : Columns
        Everything but the frames.
    zero : bool, shape (capacity,)
        Rows of which frame, action, reward and terminal are 0.
    files : list of dict
        Name, size and SHA-256 of each file.
    """

    checkpoint: Checkpoint
    columns: Columns
    zero: Array
    files: list[dict[str, Any]]

    def goes_on_in(self, following: Survey) -> bool:
        """Whether the next file's last row is the one after this file's last but one.

        Either the counters say so, or the rows that the next file did not overwrite are still ours.
        """
        ours, theirs = self.checkpoint, following.checkpoint
        if ours.number + 1 != theirs.number or ours.capacity != theirs.capacity or not ours.ends_before_last_row:
            return False
        if theirs.add_count >= theirs.capacity:
            return theirs.add_count == ours.add_count + ours.capacity
        kept = slice(theirs.add_count, ours.capacity - 1)
        return kept.start < kept.stop and all(
            np.array_equal(mine[kept], other[kept])
            for mine, other in (
                (self.columns.actions, following.columns.actions),
                (self.columns.rewards, following.columns.rewards),
                (self.columns.terminals, following.columns.terminals),
            )
        )


@dataclass(frozen=True)
class Segment:
    """Rows `start` to `stop` of a file, which follow each other in time; they belong to checkpoint `epoch`."""

    checkpoint: Checkpoint
    start: int
    stop: int
    epoch: int

    def __len__(self) -> int:
        return self.stop - self.start

    @classmethod
    def own_rows(cls, checkpoint: Checkpoint) -> list[Segment]:
        """Return the rows of a checkpoint that are its own, in time order."""
        cursor, capacity, number = checkpoint.cursor, checkpoint.capacity, checkpoint.number
        parts = [(0, cursor)]
        if checkpoint.add_count >= capacity and not checkpoint.ends_before_last_row:
            parts.insert(0, (cursor, capacity))  # a ring that has wrapped around: its oldest rows come first
        return [cls(checkpoint, start, stop, number) for start, stop in parts if start < stop]


def find_checkpoints(folder: Path, numbers: Sequence[int] | None) -> list[Checkpoint]:
    """Read the headers of checkpoints, in the order of their numbers.

    Parameters
    ----------
    folder : Path
        Where the files are.
    numbers : sequence of int, optional
        Which ones; all by default.

    Raises
    ------
    BufferNotFoundError
        If the folder, a checkpoint or one of its files is not there.
    FormatError
        If a file is no such array, or the arrays do not fit each other.
    """
    if folder.is_file():
        wanted = _path(folder, "observation", 0).name
        raise FormatError(f"{folder}: expected a folder of files such as {wanted}, found a file")
    if not folder.is_dir():
        raise BufferNotFoundError(f"{folder}: there is no such folder")
    matches = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    found = sorted({int(match["number"]) for match in matches if match and match["name"].startswith("$store$_")})
    if not found:
        raise BufferNotFoundError(
            f"{folder}: expected files such as {_path(folder, 'observation', 0).name}, found none"
        )
    for number in numbers or ():
        if number not in found:
            there = ", ".join(str(other) for other in found)
            raise BufferNotFoundError(f"{folder}: there is no checkpoint {number}; found {there}")
    return [_checkpoint(folder, number) for number in sorted(set(numbers or found))]


def _path(folder: Path, name: str, number: int) -> Path:
    return folder / f"{'' if name in _COUNTERS else '$store$_'}{name}_ckpt.{number}.gz"


def _checkpoint(folder: Path, number: int) -> Checkpoint:
    streams = {name: NpyStream(_path(folder, name, number)) for name in (*_STORES, "add_count")}
    frames, count = streams["observation"], streams["add_count"]
    is_image = frames.dtype == np.uint8 and len(frames.shape) == 3 and 0 not in frames.shape
    if not is_image or frames.shape[0] > _MAX_ROWS or math.prod(frames.shape[1:]) > _MAX_FRAME_BYTES:
        raise FormatError(
            f"{frames.path}: expected uint8 frames (rows, height, width), at most {_MAX_ROWS:,} of at most "
            f"{_MAX_FRAME_BYTES:,} bytes; found {frames.dtype} {frames.shape}"
        )
    capacity = frames.shape[0]
    for name, kinds in _COLUMN_KINDS.items():
        stream = streams[name]
        if stream.dtype.kind not in kinds or stream.shape != (capacity,):
            kind = "numbers" if name == "reward" else "whole numbers"
            raise FormatError(
                f"{stream.path}: expected {capacity:,} {kind}, one a frame; found {stream.dtype} {stream.shape}"
            )
    if count.dtype.kind not in "iu" or count.shape not in ((), (1,)):
        raise FormatError(f"{count.path}: expected one whole number, found {count.dtype} {count.shape}")
    added = int(count.read(1).item())
    if added < 0:
        raise FormatError(f"{count.path}: expected a number of rows, found {added}")
    dtypes = (streams[name].dtype.newbyteorder("=") for name in ("action", "reward"))
    return Checkpoint(folder, number, capacity, added, (frames.shape[1], frames.shape[2]), *dtypes)


def read_columns(checkpoint: Checkpoint) -> Columns:
    """Read everything but the frames: about ten bytes a row."""
    rows = []
    for name in _COLUMNS:
        stream = NpyStream(checkpoint.path(name))
        values = stream.read(checkpoint.capacity)
        stream.finish()
        rows.append(values.astype(values.dtype.newbyteorder("="), copy=False))
    return Columns(rows[0], rows[1], rows[2] != 0)


def survey(checkpoint: Checkpoint, on_read: Callable[[int], None]) -> Survey:
    """Read all files of a checkpoint once, the frames in blocks.

    Parameters
    ----------
    checkpoint : Checkpoint
        What to read.
    on_read : callable
        Is given the number of compressed bytes of frames that were read.
    """
    digest = hashlib.sha256()

    def note(data: bytes) -> None:
        digest.update(data)
        on_read(len(data))

    columns = read_columns(checkpoint)
    zero = (columns.actions == 0) & (columns.rewards == 0) & ~columns.terminals
    stream = NpyStream(checkpoint.path("observation"), note)
    block_rows = max(_BLOCK_BYTES // math.prod(checkpoint.size), 1)
    for start in range(0, checkpoint.capacity, block_rows):
        block = stream.read(min(block_rows, checkpoint.capacity - start))
        zero[start : start + len(block)] &= ~block.any(axis=(1, 2))
    stream.finish()
    path = checkpoint.path("observation")
    frames = {"name": path.name, "bytes": path.stat().st_size, "sha256": digest.hexdigest()}
    others = [checkpoint.path(name) for name in (*_COLUMNS, *_COUNTERS)]
    return Survey(checkpoint, columns, zero, [frames, *(file_facts(other) for other in others if other.is_file())])
