"""Refusing data with which every weight would become NaN, before anything is learned from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from rlbuffers.errors import UsageError
from rlbuffers.reader import Buffer
from rlbuffers.remarks import NOTICED, not_finite_text
from rlbuffers.schema import FRAMES, NEXT_OBSERVATIONS, OBSERVATIONS, OVERRIDE_OBSERVATIONS, final_name
from rlbuffers.validation.buffer_parts import blocks_of
from rlbuffers.writing.noticed import NotFinite

__all__ = ["require_finite"]

# Batches are float32.
_LARGEST = float(np.finfo(np.float32).max)


def require_finite(buffer: Buffer, columns: Sequence[str]) -> None:
    """Refuse a buffer with NaN or infinite values in columns that are learned from.

    The metadata say what was noticed when the buffer was written. Columns of older buffers are read, block by block.

    Parameters
    ----------
    buffer : Buffer
        The data.
    columns : sequence of str
        What a batch is made of.

    Raises
    ------
    UsageError
        If there are such values, or finite ones beyond float32; names the column, how many and the first row.
    """
    for column in columns:
        for name in _arrays_of(buffer, column):
            counts = _not_finite(buffer, name)
            if counts is not None:
                raise UsageError(
                    f"{buffer.path}: {not_finite_text(name, **counts)}; nothing can be learned from them. "
                    f"{_remedy(buffer, column)}"
                )
            largest = _largest(buffer, name)
            if largest > _LARGEST:
                raise UsageError(
                    f"{buffer.path}: {name!r} holds {largest:.4g}, and float32, in which training computes, ends at "
                    f"{_LARGEST:.4g}; scale this column first"
                )


def _arrays_of(buffer: Buffer, column: str) -> Iterator[str]:
    """Yield the stored arrays of floats that a column of a batch is read from."""
    wanted = [column]
    if column == OBSERVATIONS:
        wanted.append(FRAMES)
    elif column == NEXT_OBSERVATIONS:
        wanted += [final_name(OBSERVATIONS), OVERRIDE_OBSERVATIONS]
    return (name for name in wanted if name in buffer.arrays and buffer.arrays[name].array.dtype.kind == "f")


def _not_finite(buffer: Buffer, name: str) -> dict[str, int] | None:
    noticed = buffer.metadata.get(NOTICED) or {}
    if "not_finite" in noticed:
        known: dict[str, int] | None = noticed["not_finite"].get(name)
        return known
    found = NotFinite()
    for block in blocks_of(buffer, name):
        found.update(block)
    return found.counts()


def _largest(buffer: Buffer, name: str) -> float:
    """Return the largest magnitude in an array, as its statistics have it; 0 where there are none."""
    statistics = buffer.metadata["statistics"].get(name)
    if buffer.arrays[name].array.dtype.itemsize <= np.dtype(np.float32).itemsize or not isinstance(statistics, dict):
        return 0.0
    bounds = [np.abs(np.array(statistics.get(key) or 0.0, np.float64)) for key in ("min", "max")]
    return max(float(np.nan_to_num(bound).max(initial=0.0)) for bound in bounds)


def _remedy(buffer: Buffer, column: str) -> str:
    rows = "episodes" if buffer.spec.layout == "episodes" else "rows"
    return f"Leave such {rows} out: rlbuffers filter {buffer.path} --where 'all(isfinite({column}))' -o NEW"
