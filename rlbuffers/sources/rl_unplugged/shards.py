"""RL Unplugged's TFRecord shards: their records, the facts about the file, and what every source of them says."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rlbuffers.decoding.example_values import FeatureValues, parse_example
from rlbuffers.decoding.gzip_stream import gunzip
from rlbuffers.decoding.tfrecord import RecordBatch, read_records
from rlbuffers.errors import FormatError
from rlbuffers.local_inputs import refuse_special
from rlbuffers.reader_versions import source_facts
from rlbuffers.sources.base import Source
from rlbuffers.sources.files import require_file
from rlbuffers.sources.rl_unplugged.tasks import LICENSE, KnownTask
from rlbuffers.task_ends import ending_facts

__all__ = ["Record", "RecordShard", "ShardSource", "parsed_records"]

Piece = TypeVar("Piece")
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Record:
    """One parsed ``tf.train.Example``.

    Parameters
    ----------
    where : str
        File and number, for messages.
    features : mapping of name to float32 array, int64 array, or list of bytes
        As in the record.
    num_bytes : int
        Size of the record.
    """

    where: str
    features: Mapping[str, FeatureValues]
    num_bytes: int


class RecordShard:
    """A TFRecord file that is read once from beginning to end.

    Parameters
    ----------
    path : Path
        The file; any name.
    gzipped : bool
        Whether the file as a whole is compressed.

    Raises
    ------
    BufferNotFoundError
        If there is no such file.
    """

    def __init__(self, path: Path, *, gzipped: bool) -> None:
        self.path = require_file(path)
        self.size = path.stat().st_size
        self.bytes_read = 0
        self._open = gunzip if gzipped else _plain
        self._sha256 = hashlib.sha256()

    def batches(self, count: int, limit: int | None = None) -> Iterator[RecordBatch]:
        """Yield the records in batches of `count`, not yet verified."""
        return read_records(self._open(self.path, self._note), str(self.path), count, limit)

    def records(self) -> Iterator[Record]:
        """Yield the records one by one, verified and parsed."""
        for batch in self.batches(1):
            batch.verify(str(self.path))
            yield from parsed_records(batch, str(self.path))

    def first(self) -> Record:
        """Return the first record, which tells what the others look like; does not count as reading.

        Raises
        ------
        FormatError, CorruptDataError
            If there is none, or it is no such record.
        """
        for batch in read_records(self._open(self.path, None), str(self.path), 1, limit=1):
            batch.verify(str(self.path))
            return next(parsed_records(batch, str(self.path)))
        raise FormatError(f"{self.path}: expected TFRecord with at least one record, found none")

    def facts(self) -> dict[str, Any]:
        """Return name, size and, if all was read, SHA-256 of the file."""
        whole = {"sha256": self._sha256.hexdigest()} if self.bytes_read == self.size else {}
        return {"name": self.path.name, "bytes": self.size, **whole}

    def _note(self, data: bytes) -> None:
        self._sha256.update(data)
        self.bytes_read += len(data)


def _plain(path: Path, on_read: Callable[[bytes], None] | None = None) -> Iterator[bytes]:
    with refuse_special(path).open("rb") as file:
        while data := file.read(_READ_BYTES):
            if on_read is not None:
                on_read(data)
            yield data


def parsed_records(batch: RecordBatch, where: str) -> Iterator[Record]:
    """Parse the records of a verified batch.

    Raises
    ------
    CorruptDataError
        If one is no ``tf.train.Example``; names it.
    """
    view = memoryview(batch.data)
    for number, (start, stop) in enumerate(zip(batch.starts.tolist(), batch.stops.tolist(), strict=True)):
        name = f"{where}: record {batch.first_record + number}"
        yield Record(name, parse_example(view[start:stop], name), stop - start)


class ShardSource(Source[Piece]):
    """What the sources of one shard have in common.

    Parameters
    ----------
    path : Path
        The shard; any name.
    task : KnownTask
        What was recorded.
    gzipped : bool, default True
        Whether the shard is compressed.
    facts : mapping, optional
        More facts for ``source`` in the metadata: data set, shard, URL.

    Attributes
    ----------
    inner_terminals : int
        Terminals before the end of an episode, as subclasses count them.
    """

    def __init__(
        self, path: Path, task: KnownTask, *, gzipped: bool = True, facts: Mapping[str, Any] | None = None
    ) -> None:
        self.task = task
        self._shard = RecordShard(path, gzipped=gzipped)
        self._facts = dict(facts or {})
        self.inner_terminals = 0

    @property
    def where(self) -> str:
        """Path of the shard."""
        return str(self._shard.path)

    @property
    def files(self) -> Sequence[Path]:
        """The shard."""
        return [self._shard.path]

    @property
    def total(self) -> int:
        """Size of the shard in bytes."""
        return self._shard.size

    @property
    def done(self) -> int:
        """Bytes read so far."""
        return self._shard.bytes_read

    @abstractmethod
    def measurements(self) -> dict[str, Any]:
        """Return what was measured on the shard."""

    def warnings(self) -> list[str]:
        """Return what a user must know of the shard."""
        if not self.inner_terminals:
            return []
        return [
            f"{self.inner_terminals:,} discounts of 0 stand before the end of an episode; they are stored as "
            "terminals, and the episode goes on."
        ]

    @abstractmethod
    def left_out(self) -> Sequence[str]:
        """Return what of the shard is not in the buffer."""

    @abstractmethod
    def notes(self) -> Sequence[str]:
        """Return how the rows were made from the records."""

    def environment(self) -> dict[str, Any]:
        """Return what is known of the environment."""
        goes_on = {"terminals_end_episodes": False} if self.inner_terminals else {}
        named = {"id": self.task.name, "suite": self.task.suite}
        return {**named, **ending_facts(named), **self.task.environment, **goes_on}

    def metadata(self) -> dict[str, Any]:
        """Describe the shard, what was measured on it, and how it was read."""
        return {
            "environment": self.environment(),
            "behavior_policy": {"name": self.task.behavior, "epsilon": "unknown"},
            "source": source_facts("rl-unplugged", files=[self._shard.facts()], **self._facts),
            "measurements": self.measurements(),
            "warnings": list(self.warnings()),
            "left_out": list(self.left_out()),
            "license": LICENSE,
            "citation": self.task.citation,
            "notes": list(self.notes()),
        }
