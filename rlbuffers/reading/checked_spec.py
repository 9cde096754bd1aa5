"""Whether a store holds what its metadata say, asked once when a buffer is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.listing import shortened
from rlbuffers.schema import ACTIONS, DTYPES, BufferSpec, stored_arrays
from rlbuffers.stores.base import StoredArray

__all__ = ["checked_spec"]

_NEEDED = ("spec", "arrays", "fingerprint", "counts", "statistics")
_ELEMENTWISE = ("min", "max", "mean", "std")
# Of the whole buffer, although a column may have such a name.
_NOT_OF_COLUMNS = ("episode_lengths", "episode_returns", "reward_sum", "action_counts")
_SHOWN = 200


def checked_spec(metadata: Mapping[str, Any], arrays: Mapping[str, StoredArray], where: str) -> BufferSpec:
    """Return the spec in a buffer's metadata after holding both against the arrays of the store.

    Parameters
    ----------
    metadata : mapping
        As `parse_metadata` returns them.
    arrays : mapping of name to StoredArray
        The store's.
    where : str
        What was opened, for messages.

    Raises
    ------
    FormatError
        If the metadata lack something or contradict themselves.
    CorruptDataError
        If the store holds something else.
    """
    missing = [key for key in _NEEDED if key not in metadata]
    if missing:
        raise FormatError(f"{where}: the metadata lack {missing[0]!r}; the file is not a whole buffer")
    try:
        spec = BufferSpec.from_json(metadata["spec"])
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from error
    _check_arrays(metadata, spec, arrays, where)
    _check_statistics(metadata["statistics"], spec, where)
    _check_normalization(metadata, spec, where)
    return spec


def _check_arrays(metadata: Mapping[str, Any], spec: BufferSpec, arrays: Mapping[str, StoredArray], where: str) -> None:
    found = {name: (array.dtype.name, list(array.shape)) for name, array in arrays.items()}
    stated = {name: (facts["dtype"], facts["shape"]) for name, facts in metadata["arrays"].items()}
    if found != stated:
        wrong = sorted(name for name in {*found, *stated} if found.get(name) != stated.get(name))[0]
        raise CorruptDataError(
            f"{where}: array {shortened(wrong, _SHOWN)!r}: the metadata says {_described(stated.get(wrong))}, the file "
            f"holds {_described(found.get(wrong))}"
        )
    expected_arrays = stored_arrays(spec)
    more = sorted(set(found) - set(expected_arrays))
    if more:
        raise CorruptDataError(f"{where}: array {shortened(more[0], _SHOWN)!r} is not part of the spec")
    num_rows: dict[str, int] = {"transitions": metadata["counts"].get("transitions", 0)}
    for name, array in expected_arrays.items():
        dtype, shape = found.get(name, ("absent", [0]))
        if dtype != array.dtype.name or tuple(shape[1:]) != array.row_shape:
            raise CorruptDataError(f"{where}: array {name!r} is {_described((dtype, shape))}, unlike the spec")
        expected = shape[0] if array.rows == "own" else num_rows.setdefault(array.rows, shape[0])
        if shape[0] != expected:
            raise CorruptDataError(f"{where}: array {name!r} has {shape[0]:,} rows, expected {expected:,}")
    if num_rows["transitions"] < 1:
        raise FormatError(f"{where}: the metadata state no transitions; the file is not a whole buffer")
    if spec.layout == "episodes" and not 1 <= num_rows["episodes"] <= num_rows["transitions"]:
        raise CorruptDataError(
            f"{where}: {num_rows['episodes']:,} episodes cannot have {num_rows['transitions']:,} rows"
        )
    if spec.stack:
        used = num_rows["transitions"]
        used += spec.stack * (num_rows["episodes"] if spec.layout == "episodes" else used)
        if num_rows["frames"] < used:
            raise CorruptDataError(f"{where}: array 'frames' has {num_rows['frames']:,} rows, expected {used:,}")


def _described(array: tuple[str, list[int]] | None) -> str:
    return "nothing" if array is None else shortened(f"{array[0]} {array[1]}", _SHOWN)


def _check_statistics(statistics: Mapping[str, Any], spec: BufferSpec, where: str) -> None:
    """Require statistics of the columns' own shapes, so that nobody who uses them has to ask."""
    for name, found in statistics.items():
        column = spec.columns.get(name)
        if column is None or name in _NOT_OF_COLUMNS or found == {}:
            continue
        if not isinstance(found, dict):
            raise FormatError(f"{where}: the statistics of {name!r} are not an object")
        for key in _ELEMENTWISE:
            if key not in found:
                raise FormatError(f"{where}: the statistics of {name!r} lack {key!r}")
            if _shape_of(found[key]) != column.shape:
                raise FormatError(f"{where}: the statistics of {name!r} ({key}) are not of the shape of its rows")
    space = spec.columns[ACTIONS].space or {}
    counts = statistics.get("action_counts")
    is_list = isinstance(counts, list)
    if counts is not None and not ((is_list and len(counts) == space.get("n")) or "action_counts" in spec.columns):
        raise FormatError(f"{where}: the statistics do not have a number for each action (action_counts)")


def _shape_of(value: Any) -> tuple[int, ...] | None:
    """Return the shape of nested lists; None if they are not of one."""
    shape: list[int] = []
    level = [value]
    while level and all(isinstance(item, list) for item in level):
        sizes = {len(item) for item in level}
        if len(sizes) > 1:
            return None
        shape.append(sizes.pop())
        level = [inner for item in level for inner in item]
    return None if any(isinstance(item, list) for item in level) else tuple(shape)


def _check_normalization(metadata: Mapping[str, Any], spec: BufferSpec, where: str) -> None:
    described = metadata.get("normalization") or {"epsilon": 0, "columns": {}}
    if described["epsilon"] < 0:
        raise FormatError(f"{where}: the metadata cannot be used: normalization.epsilon is negative")
    for name, facts in described["columns"].items():
        column = spec.columns.get(name)
        if column is None:
            continue
        if facts["dtype"] not in DTYPES or any(_shape_of(facts[key]) != column.shape for key in ("mean", "std")):
            raise FormatError(
                f"{where}: the metadata cannot be used: normalization.columns.{name} does not fit the rows"
            )
