"""`diff`: whether two buffers hold the same, and where not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rlbuffers.editing.derivation import BufferOrPath, opened
from rlbuffers.reader import Buffer
from rlbuffers.remarks import NOTICED
from rlbuffers.schema import BufferSpec, ColumnSpec

__all__ = ["ArrayDifference", "DiffReport", "Difference", "diff"]

Array = np.ndarray[Any, Any]
_BLOCK_BYTES = 16 << 20
# What says nothing of the content, or is compared on its own.
_NOT_COMPARED = (
    "arrays",
    "spec",
    "counts",
    "statistics",
    NOTICED,
    "storage",
    "fingerprint",
    "format",
    "format_version",
)
_MISSING = "absent"


@dataclass(frozen=True)
class Difference:
    """A fact that the two buffers state differently; ``absent`` where one states nothing."""

    where: str
    first: Any
    second: Any


@dataclass(frozen=True)
class ArrayDifference:
    """How an array that both buffers hold differs.

    Parameters
    ----------
    name : str
        A stored array, or a column where the two are stored in different ways.
    rows : tuple of int
        Rows of either.
    compared_rows : int
        Rows that both have.
    differing_rows : int
        How many of these are not the same, bit for bit; by value where the dtypes differ.
    first_row : int or None
        The first of them.
    max_difference : float or None
        Largest absolute difference of two finite numbers in them.
    """

    name: str
    rows: tuple[int, int]
    compared_rows: int
    differing_rows: int
    first_row: int | None
    max_difference: float | None


@dataclass(frozen=True)
class DiffReport:
    """What two buffers do not have in common.

    Parameters
    ----------
    first, second : str
        Their paths.
    equal : bool
        Whether they hold the same content: the same fingerprint.
    specs, counts, metadata : list of Difference
        How they differ; metadata may, although the content is equal.
    arrays : list of ArrayDifference
        Those that differ, of the arrays that both have with rows of one shape.
    """

    first: str
    second: str
    equal: bool
    specs: list[Difference]
    counts: list[Difference]
    metadata: list[Difference]
    arrays: list[ArrayDifference]

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


def diff(first: BufferOrPath, second: BufferOrPath, *, on_array: Callable[[str], None] | None = None) -> DiffReport:
    """Compare two buffers.

    The digests that the writer stored tell which arrays differ; only those are read. Whether the bytes on disk
    still have these digests is what `rlbuffers.validate` finds out.

    Parameters
    ----------
    first, second : Buffer, str or Path
        In any containers.
    on_array : callable, optional
        Is given the name of each array before it is read.

    Examples
    --------
    >>> import rlbuffers
    >>> rlbuffers.diff("runs.hdf5", "runs.hdf5").equal
    True
    >>> [array.name for array in rlbuffers.diff("runs.hdf5", "more.hdf5").arrays]
    ['actions', 'episodes/final_observations', 'observations']
    """
    with opened(first) as left, opened(second) as right:
        return DiffReport(
            first=str(left.path),
            second=str(right.path),
            equal=left.fingerprint == right.fingerprint,
            specs=_spec_differences(left.spec, right.spec),
            counts=_differences(left.metadata["counts"], right.metadata["counts"], ""),
            metadata=_differences(_stated(left), _stated(right), ""),
            arrays=list(_array_differences(left, right, on_array or (lambda name: None))),
        )


def _stated(buffer: Buffer) -> dict[str, Any]:
    return {name: value for name, value in buffer.metadata.items() if name not in _NOT_COMPARED}


def _differences(first: Any, second: Any, where: str) -> list[Difference]:
    """Compare JSON values; goes into mappings, and names the place by ``a.b``."""
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return [] if first == second else [Difference(where, first, second)]
    found = []
    for name in sorted({*first, *second}):
        place = f"{where}.{name}" if where else name
        found += _differences(first.get(name, _MISSING), second.get(name, _MISSING), place)
    return found


def _spec_differences(first: BufferSpec, second: BufferSpec) -> list[Difference]:
    facts = [{name: getattr(spec, name) for name in ("layout", "order", "stack")} for spec in (first, second)]
    found = _differences(facts[0], facts[1], "")
    for what in ("columns", "episode_columns", "extras"):
        ours, theirs = (
            {name: _described(column) for name, column in getattr(spec, what).items()} for spec in (first, second)
        )
        found += _differences(ours, theirs, what)
    return found


def _described(column: ColumnSpec) -> str:
    space = f" {column.space}" if column.space else ""
    return f"{column.dtype} {column.shape}{space}"


def _array_differences(first: Buffer, second: Buffer, on_array: Callable[[str], None]) -> Iterator[ArrayDifference]:
    alike = all(getattr(first.spec, name) == getattr(second.spec, name) for name in ("layout", "stack"))
    if first.fingerprint == second.fingerprint:
        return
    if alike:
        for name in sorted({*first.arrays} & {*second.arrays}):
            ours, theirs = (buffer.metadata["arrays"][name] for buffer in (first, second))
            if ours != theirs and ours["shape"][1:] == theirs["shape"][1:]:
                on_array(name)
                yield _compared(name, _stored(first, name), _stored(second, name), ours["shape"][0], theirs["shape"][0])
        return
    for name in sorted({*first.spec.batch_names} & {*second.spec.batch_names}):
        if first.spec.batch_column(name).shape == second.spec.batch_column(name).shape:
            on_array(name)
            found = _compared(name, _column(first, name), _column(second, name), len(first), len(second))
            if found.differing_rows or len(first) != len(second):
                yield found


def _stored(buffer: Buffer, name: str) -> Callable[[int, int], Array]:
    return buffer.arrays[name].slice


def _column(buffer: Buffer, name: str) -> Callable[[int, int], Array]:
    return lambda start, stop: buffer.rows(np.arange(start, stop), [name])[name]


def _compared(
    name: str, first: Callable[[int, int], Array], second: Callable[[int, int], Array], rows: int, other_rows: int
) -> ArrayDifference:
    """Compare the rows that both have, a block at a time."""
    common = min(rows, other_rows)
    differing, first_row, largest = 0, None, None
    start, count = 0, 1
    while start < common:
        stop = min(start + count, common)
        ours, theirs = first(start, stop), second(start, stop)
        unlike = _unlike_rows(ours, theirs)
        if unlike.any():
            differing += int(unlike.sum())
            first_row = start + int(unlike.argmax()) if first_row is None else first_row
            found = _largest_difference(ours[unlike], theirs[unlike])
            largest = found if largest is None or (found is not None and found > largest) else largest
        start = stop
        count = max(_BLOCK_BYTES // max(ours.nbytes // len(ours), 1), 1)  # known after the first row
    return ArrayDifference(name, (rows, other_rows), common, differing, first_row, largest)


def _unlike_rows(first: Array, second: Array) -> Array:
    if first.dtype == second.dtype:
        width = first.dtype.itemsize * math.prod(first.shape[1:])
        bits = [np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8) for rows in (first, second)]
        found: Array = (bits[0].reshape(-1, width) != bits[1].reshape(-1, width)).any(axis=1)
        return found
    # NaN is equal to itself here.
    unlike: Array = (first != second) & ~((first != first) & (second != second))
    return np.asarray(unlike.reshape(len(unlike), -1).any(axis=1))


def _largest_difference(first: Array, second: Array) -> float | None:
    with np.errstate(all="ignore"):
        differences = np.abs(first.astype(np.float64) - second.astype(np.float64))
    finite = differences[np.isfinite(differences)]
    return float(finite.max()) if finite.size else None
