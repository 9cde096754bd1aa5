"""What a buffer that is being written needs to be salvaged if its writer is killed.

A container is readable only when it is finished. So now and then the writer notes beside it where the chunks
are, and what is not in a chunk yet. Two files stand beside ``.NAME.partial`` and vanish with it:

``.NAME.partial.journal``
    Only grows: a record that describes the arrays, then one for each *checkpoint*, with the places of the chunks
    and the episodes since the one before.
``.NAME.partial.tail``
    Is replaced at each checkpoint: the rows that do not fill a chunk yet.

The journal is written before the tail. Whenever a writer is killed, the tail of the last checkpoint or of the one
before is there, and the rows that it counts are all in it or in chunks that the journal knows.

A record is its length in bytes (8, little-endian), the XXH3-128 of its content (16), and the content: the length of
a JSON text (8), the text, and the bytes of the arrays that the text lists. One that fails its checksum ends a journal.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from rlbuffers.errors import CorruptDataError
from rlbuffers.hidden_paths import JOURNAL_SUFFIX, partial_of, remove_path
from rlbuffers.local_inputs import refuse_special

__all__ = [
    "INTERRUPTED_SUFFIX",
    "INTERVAL_SECONDS",
    "JournalWriter",
    "Record",
    "interrupted_of",
    "journal_of",
    "keep_interrupted",
    "num_journaled",
    "read_records",
    "remove_interrupted",
    "tail_of",
]

Array = np.ndarray[Any, Any]

# What a killed writer loses at most. A checkpoint copies the rows that are pending, some megabytes.
INTERVAL_SECONDS = 30.0
INTERRUPTED_SUFFIX = ".interrupted"
_LENGTH_BYTES = 8
_DIGEST_BYTES = 16
_TAIL_SUFFIX = ".tail"
_NEW_SUFFIX = ".new"
_SUFFIXES = (JOURNAL_SUFFIX, _TAIL_SUFFIX, _TAIL_SUFFIX + _NEW_SUFFIX)


@dataclass(frozen=True)
class Record:
    """One record of a journal or a tail.

    Parameters
    ----------
    facts : mapping
        JSON values.
    arrays : mapping of name to array
        Numbers.
    """

    facts: Mapping[str, Any]
    arrays: Mapping[str, Array]

    def encoded(self) -> bytes:
        """Return the bytes of the record."""
        little = {
            name: np.ascontiguousarray(array, array.dtype.newbyteorder("<")) for name, array in self.arrays.items()
        }
        listed = [[name, array.dtype.str, list(array.shape)] for name, array in little.items()]
        text = json.dumps({"facts": dict(self.facts), "arrays": listed}).encode()
        content = b"".join(
            [len(text).to_bytes(_LENGTH_BYTES, "little"), text, *(array.tobytes() for array in little.values())]
        )
        return len(content).to_bytes(_LENGTH_BYTES, "little") + xxhash.xxh3_128_digest(content) + content

    @classmethod
    def decoded(cls, content: bytes) -> Record:
        """Return the record of a content that passed its checksum."""
        text_end = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
        described = json.loads(content[_LENGTH_BYTES:text_end])
        arrays, place = {}, text_end
        for name, dtype, shape in described["arrays"]:
            kind = np.dtype(dtype)
            count = math.prod(shape)
            array = np.frombuffer(content, kind, count, place).reshape(shape)
            arrays[name] = array.astype(kind.newbyteorder("="), copy=False)
            place += count * kind.itemsize
        return cls(described["facts"], arrays)


def journal_of(partial: Path) -> Path:
    """Return where the journal of a partial buffer is."""
    return partial.with_name(partial.name + JOURNAL_SUFFIX)


def tail_of(partial: Path) -> Path:
    """Return where the tail of a partial buffer is."""
    return partial.with_name(partial.name + _TAIL_SUFFIX)


def interrupted_of(final: Path) -> Path:
    """Return where a partial buffer is kept when its path is written anew."""
    return final.with_name(f".{final.name}{INTERRUPTED_SUFFIX}")


def read_records(path: Path) -> Iterator[Record]:
    """Yield the records of a journal or a tail, up to the first that is not whole.

    Raises
    ------
    CorruptDataError
        If a record passes its checksum and is none all the same.
    """
    content = memoryview(refuse_special(path).read_bytes())
    place = 0
    while place + _LENGTH_BYTES + _DIGEST_BYTES <= len(content):
        start = place + _LENGTH_BYTES + _DIGEST_BYTES
        stop = start + int.from_bytes(content[place : place + _LENGTH_BYTES], "little")
        body = bytes(content[start:stop])
        if stop > len(content) or xxhash.xxh3_128_digest(body) != content[place + _LENGTH_BYTES : start]:
            return
        try:
            yield Record.decoded(body)
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise CorruptDataError(f"{path}: a record at {place} is of another version ({error!r})") from error
        place = stop


def num_journaled(partial: Path) -> int:
    """Return how many transitions can be salvaged of a partial buffer, at most; 0 without a journal."""
    try:
        last = next(read_records(tail_of(partial)), None)
    except OSError:
        return 0
    return int(last.facts.get("transitions", 0)) if last is not None and journal_of(partial).exists() else 0


class JournalWriter:
    """Writes the journal and the tail of one partial buffer, from the first checkpoint on.

    Parameters
    ----------
    partial : Path
        The partial buffer.
    """

    def __init__(self, partial: Path) -> None:
        self._partial = partial
        self._begun = False
        self._due = time.monotonic() + INTERVAL_SECONDS

    @property
    def is_due(self) -> bool:
        """Whether the last checkpoint is long enough ago."""
        return time.monotonic() >= self._due

    @property
    def has_begun(self) -> bool:
        """Whether there was a checkpoint, or is just to come."""
        return self._begun

    def begin(self, header: Record) -> None:
        """Write what describes the arrays, before the first checkpoint."""
        journal_of(self._partial).write_bytes(header.encoded())
        self._begun = True

    def checkpoint(self, growth: Record, tail: Record) -> None:
        """Note what has come since the last checkpoint, and what is pending."""
        with journal_of(self._partial).open("ab") as journal:
            journal.write(growth.encoded())
        target = tail_of(self._partial)
        new = target.with_name(target.name + _NEW_SUFFIX)
        new.write_bytes(tail.encoded())
        os.replace(new, target)
        self._due = time.monotonic() + INTERVAL_SECONDS


def keep_interrupted(final: Path) -> None:
    """Move aside what a killed writer left at a path, if it can be salvaged; the caller holds the path's lock.

    Of what was moved aside before and this, the one with more transitions stays.
    """
    partial, kept = partial_of(final), interrupted_of(final)
    if partial.exists() and num_journaled(partial) > num_journaled(kept):
        remove_interrupted(final)
        for suffix in _SUFFIXES[:2]:
            os.rename(partial.with_name(partial.name + suffix), kept.with_name(kept.name + suffix))
        os.rename(partial, kept)
    _remove_beside(partial)


def remove_interrupted(final: Path, command: str | None = None) -> bool:
    """Remove what was moved aside for a path, or only if that command wrote it; tell whether anything is left."""
    kept = interrupted_of(final)
    if not kept.exists() and not journal_of(kept).exists():
        return False
    if command is not None and _command(kept) != command:
        return True
    remove_path(kept)
    _remove_beside(kept)
    return False


def _command(partial: Path) -> str | None:
    try:
        header = next(read_records(journal_of(partial)), None)
    except (OSError, CorruptDataError):
        return None
    return None if header is None else header.facts.get("written_by", {}).get("command")


def _remove_beside(partial: Path) -> None:
    for suffix in _SUFFIXES:
        partial.with_name(partial.name + suffix).unlink(missing_ok=True)
