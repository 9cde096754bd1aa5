"""Rules of where a buffer comes from."""

from __future__ import annotations

from collections.abc import Iterator

from rlbuffers.reader import Buffer
from rlbuffers.reader_versions import faults_of
from rlbuffers.validation.finding import Finding

__all__ = ["reader_is_sound"]


def reader_is_sound(buffer: Buffer) -> Iterator[Finding]:
    """The version that converted the source had no fault that makes the data wrong."""
    for fault in faults_of(buffer.metadata):
        yield Finding("reader", "error", fault)
