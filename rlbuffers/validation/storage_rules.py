"""Rules of what stands in the file: every byte as it was written, and found where any reader looks for it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rlbuffers.fingerprint import ArrayDigest, block_digests, fingerprint_of
from rlbuffers.reader import Buffer
from rlbuffers.schema import NEXT_OBSERVATIONS, OBSERVATIONS, next_name
from rlbuffers.validation.buffer_parts import blocks_of, bytes_of_rows
from rlbuffers.validation.finding import Finding

__all__ = ["checksums", "chunks_in_place", "views_agree"]

_VIEW_ROWS_CHECKED = 32


def checksums(buffer: Buffer) -> Iterator[Finding]:
    """Every chunk decodes, passes its checksum, and the content has the stored fingerprint."""
    digests = []
    for name, rows in buffer.arrays.items():
        digest = ArrayDigest()
        for block in blocks_of(buffer, name):
            digest.update(block_digests(block))
        found, stated = digest.hexdigest(), buffer.metadata["arrays"][name]["digest"]
        if found != stated:
            yield Finding("checksums", "error", f"array {name!r}: the content differs from what was written")
        digests.append((name, rows.array.dtype.name, rows.array.shape, found))
    if fingerprint_of(digests) != buffer.fingerprint:
        yield Finding("checksums", "error", "the content does not have the stored fingerprint")


def views_agree(buffer: Buffer) -> Iterator[Finding]:
    """What the container's own library shows under the D4RL names is what the buffer holds."""
    names = [OBSERVATIONS, NEXT_OBSERVATIONS] if buffer.spec.stack else []
    if buffer.spec.layout == "episodes" and not buffer.spec.stack:
        names = [next_name(name) for name in buffer.spec.observation_names]
    rows = np.unique(np.linspace(0, len(buffer) - 1, _VIEW_ROWS_CHECKED).astype(np.int64))
    for name in names:
        expected = buffer.rows(rows, [name])[name]
        found = buffer.stored_view(name, rows.tolist())
        if found is None:
            continue
        if (found.dtype, found.shape) != (expected.dtype, expected.shape):
            yield Finding("views-agree", "error", f"{name!r} has another type when read by the container's library")
            continue
        wrong = (bytes_of_rows(found) != bytes_of_rows(expected)).any(axis=1)  # NaN is equal to itself here
        if wrong.any():
            row = int(rows[wrong.argmax()])
            yield Finding("views-agree", "error", f"{name!r} of row {row} differs when read by the container's library")


def chunks_in_place(buffer: Buffer) -> Iterator[Finding]:
    """The tables of chunks in the file say what the container's own library says."""
    for problem in buffer.container_problems():
        yield Finding("chunk-tables", "error", problem)
