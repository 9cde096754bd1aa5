"""Rules of the values: finite, inside their spaces, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import xxhash

from rlbuffers.reader import Buffer
from rlbuffers.remarks import not_finite_text
from rlbuffers.schema import ACTIONS, EPISODE_LENGTHS, EPISODE_STARTS, REWARDS
from rlbuffers.spaces import count_outside
from rlbuffers.validation.buffer_parts import MAX_BLOCK_BYTES, blocks_of, bytes_of_rows
from rlbuffers.validation.finding import Finding
from rlbuffers.writing.noticed import NotFinite

__all__ = ["finite_values", "no_duplicates", "values_in_space"]


def finite_values(buffer: Buffer) -> Iterator[Finding]:
    """No number is NaN or infinite."""
    for name, array in buffer.arrays.items():
        if array.array.dtype.kind == "f":
            found = NotFinite()
            for block in blocks_of(buffer, name):
                found.update(block)
            if (counts := found.counts()) is not None:
                yield Finding("finite-values", "error", not_finite_text(name, **counts))


def values_in_space(buffer: Buffer) -> Iterator[Finding]:
    """Actions and other columns with a declared space stay inside it."""
    for name, column in buffer.spec.columns.items():
        if not column.space or name not in buffer.arrays:
            continue
        outside = sum(count_outside(block, column.space) for block in blocks_of(buffer, name))
        if outside:
            status: Literal["error", "warning"] = "error" if name in (ACTIONS, "next_actions") else "warning"
            yield Finding("values-in-space", status, f"{outside:,} rows of {name!r} lie outside {dict(column.space)}")


def no_duplicates(buffer: Buffer) -> Iterator[Finding]:
    """No episode, or in the transitions layout no row, stands in the buffer twice."""
    yield from _repeated_episodes(buffer) if buffer.spec.layout == "episodes" else _repeated_rows(buffer)


def _repeated_episodes(buffer: Buffer) -> Iterator[Finding]:
    starts, lengths = (buffer.arrays[name].all() for name in (EPISODE_STARTS, EPISODE_LENGTHS))
    actions, rewards = (np.ascontiguousarray(buffer.arrays[name].all()) for name in (ACTIONS, REWARDS))
    seen: dict[bytes, int] = {}
    repeated = []
    for number, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
        digest = xxhash.xxh3_128(actions[start : start + length].tobytes())
        digest.update(rewards[start : start + length].tobytes())
        for name in buffer.spec.observation_names:
            digest.update(np.ascontiguousarray(buffer.rows([start, start + length - 1], [name])[name]).tobytes())
        if seen.setdefault(digest.digest(), number) != number:
            repeated.append((number, seen[digest.digest()]))
    if repeated:
        number, earlier = repeated[0]
        yield Finding(
            "no-duplicates",
            "warning",
            f"{len(repeated):,} of {len(starts):,} episodes repeat another one, "
            f"e.g. episode {number} repeats {earlier}",
        )


def _repeated_rows(buffer: Buffer) -> Iterator[Finding]:
    names = buffer.spec.batch_names
    rows_at_once = max(MAX_BLOCK_BYTES // sum(buffer.spec.batch_column(name).row_bytes for name in names), 1)
    digests = np.empty((len(buffer), 2), np.uint64)
    for start in range(0, len(buffer), rows_at_once):
        block = buffer[start : start + rows_at_once]
        parts = np.concatenate([bytes_of_rows(block[name]) for name in names], axis=1)
        for offset, row in enumerate(parts):
            digests[start + offset] = np.frombuffer(xxhash.xxh3_128_digest(row.data), np.uint64)
    distinct = len(np.unique(digests, axis=0))
    if distinct < len(buffer):
        yield Finding(
            "no-duplicates", "warning", f"{len(buffer) - distinct:,} of {len(buffer):,} rows repeat another row"
        )
