"""The files of a Dopamine replay log, and which rows each checkpoint holds.

A checkpoint N is a ring buffer, dumped as gzipped ``.npy`` streams: ``$store$_observation_ckpt.N.gz``,
``$store$_action``, ``$store$_reward``, ``$store$_terminal``, and ``add_count``, the number of rows ever
added. Row r of all rows ever added stands in row ``r % capacity``. The DQN Replay logs were dumped one
row before the ring was full: the last row of a file is the one before its row 0, and the last of its own
epoch stands in the last row of the next file.
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
import xxhash

from rlbuffers.decoding.claims import most_bytes
from rlbuffers.decoding.npy_stream import NpyStream
from rlbuffers.errors import BufferNotFoundError, FormatError
from rlbuffers.listing import listed
from rlbuffers.local_inputs import require_inside
from rlbuffers.sources.files import file_facts

__all__ = ["Checkpoint", "Columns", "Segment", "Survey", "find_checkpoints", "numbers_in", "read_columns", "survey"]

Array = np.ndarray[Any, Any]
_NAME = re.compile(r"(?P<name>.+)_ckpt\.(?P<number>\d+)\.gz")
_COLUMNS = ("action", "reward", "terminal")
_STORES = ("observation", *_COLUMNS)
_COUNTERS = ("add_count", "invalid_range")
_COLUMN_KINDS = {"action": "iu", "reward": "fiu", "terminal": "biu"}
# Four times what the DQN Replay logs have; their small columns are held in memory. More is believed of larger files.
_MAX_ROWS = 1 << 22
_MIN_FRAME_BYTES = 16
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
    def oldest(self) -> int:
        """The first row that it holds, as a number among all rows ever added."""
        return max(self.add_count - self.capacity, 0)

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
    frame_digests : uint64, shape (capacity,), or None
        XXH3 of each frame, if asked for.
    files : list of dict
        Name, size and SHA-256 of each file.
    """

    checkpoint: Checkpoint
    columns: Columns
    zero: Array
    frame_digests: Array | None
    files: list[dict[str, Any]]


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
    def of_rows(cls, checkpoint: Checkpoint, first: int, stop: int) -> list[Segment]:
        """Return where the rows `first` to `stop` of all ever added stand, none of them overwritten."""
        capacity = checkpoint.capacity
        found = []
        while first < stop:
            row = first % capacity
            length = min(stop - first, capacity - row)
            found.append(cls(checkpoint, row, row + length, checkpoint.number))
            first += length
        return found

    @classmethod
    def own_rows(cls, checkpoint: Checkpoint) -> list[Segment]:
        """Return the rows of a checkpoint that are its own, in time order."""
        is_older = checkpoint.ends_before_last_row and checkpoint.add_count >= checkpoint.capacity
        return cls.of_rows(checkpoint, checkpoint.oldest + is_older, checkpoint.add_count)


def numbers_in(folder: Path) -> list[int]:
    """Return the numbers of the checkpoints in a folder, in ascending order."""
    matches = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    return sorted({int(match["number"]) for match in matches if match and match["name"].startswith("$store$_")})


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
    found = numbers_in(folder)
    if not found:
        raise BufferNotFoundError(
            f"{folder}: expected files such as {_path(folder, 'observation', 0).name}, found none"
        )
    for number in numbers or ():
        if number not in found:
            there = listed(str(other) for other in found)
            raise BufferNotFoundError(f"{folder}: there is no checkpoint {number}; found {there}")
    return [_checkpoint(folder, number) for number in sorted(set(numbers or found))]


def _path(folder: Path, name: str, number: int) -> Path:
    return folder / f"{'' if name in _COUNTERS else '$store$_'}{name}_ckpt.{number}.gz"


def _checkpoint(folder: Path, number: int) -> Checkpoint:
    for name in (*_STORES, *_COUNTERS):
        require_inside(folder, _path(folder, name, number))
    streams = {name: NpyStream(_path(folder, name, number)) for name in (*_STORES, "add_count")}
    frames, count = streams["observation"], streams["add_count"]
    is_image = frames.dtype == np.uint8 and len(frames.shape) == 3 and 0 not in frames.shape
    most_rows = most_bytes(frames.path, 1, _MAX_ROWS * _MIN_FRAME_BYTES) // _MIN_FRAME_BYTES
    if not is_image or frames.shape[0] > most_rows or math.prod(frames.shape[1:]) > _MAX_FRAME_BYTES:
        raise FormatError(
            f"{frames.path}: expected uint8 frames (rows, height, width), at most {most_rows:,} of at most "
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


def survey(checkpoint: Checkpoint, on_read: Callable[[int], None], *, with_digests: bool) -> Survey:
    """Read all files of a checkpoint once, the frames in blocks.

    Parameters
    ----------
    checkpoint : Checkpoint
        What to read.
    on_read : callable
        Is given the number of compressed bytes of frames that were read.
    with_digests : bool
        Whether frames are to be compared with those of another checkpoint.
    """
    digest = hashlib.sha256()

    def note(data: bytes) -> None:
        digest.update(data)
        on_read(len(data))

    columns = read_columns(checkpoint)
    zero = (columns.actions == 0) & (columns.rewards == 0) & ~columns.terminals
    digests = np.empty(checkpoint.capacity, np.uint64) if with_digests else None
    stream = NpyStream(checkpoint.path("observation"), note)
    block_rows = max(_BLOCK_BYTES // math.prod(checkpoint.size), 1)
    for start in range(0, checkpoint.capacity, block_rows):
        block = stream.read(min(block_rows, checkpoint.capacity - start))
        rows = slice(start, start + len(block))
        zero[rows] &= ~block.any(axis=(1, 2))
        if digests is not None:
            digests[rows] = [xxhash.xxh3_64_intdigest(frame) for frame in block]
    stream.finish()
    path = checkpoint.path("observation")
    frames = {"name": path.name, "bytes": path.stat().st_size, "sha256": digest.hexdigest()}
    others = [checkpoint.path(name) for name in (*_COLUMNS, *_COUNTERS)]
    facts = [frames, *(file_facts(other) for other in others if other.is_file())]
    return Survey(checkpoint, columns, zero, digests, facts)
