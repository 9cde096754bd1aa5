"""The batches of rows in RLlib's files: JSON lines and Parquet, a step or a batch of steps in each row.

Format: ``rllib/offline/json_writer.py``, ``dataset_writer.py`` and ``offline_env_runner.py`` of ray-project/ray.
A line of JSON is an object: a ``SampleBatch`` with a list for each column, a ``MultiAgentBatch`` with one such object
for each policy, or, without a ``type``, one step. A row of a Parquet file is the same. Arrays may be packed
(``decoding/packed_array.py``). Nested objects become columns with paths for names.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.decoding.packed_array import is_packed, unpack_array
from rlbuffers.errors import FormatError, UsageError
from rlbuffers.listing import listed
from rlbuffers.local_inputs import refuse_special
from rlbuffers.sources.json_text import MAX_PARSED_BYTES, described, parse_json

__all__ = ["EXTRA", "PURPOSE", "Batch", "batch_of_columns", "batch_of_rows", "json_batches", "object_batch"]

Array = np.ndarray[Any, Any]
EXTRA = "rllib"
PURPOSE = "Reading Parquet files and packed columns of RLlib"
_MAX_LINE_BYTES = 128 << 20
# What the values of a line may take in memory, for each byte of its text; lists of small numbers take ten.
_LINE_GROWTH = 12
_ROWS = 1000
_ROW_BYTES = 8 << 20  # text of rows that are gathered into one batch
_PEEKED = 256
_IN_SOME = object()
_BATCH_TYPES = ("SampleBatch", "MultiAgentBatch")


@dataclass(frozen=True)
class Batch:
    """Steps that stand behind one another in a file.

    Parameters
    ----------
    where : str
        File and place, for messages.
    columns : mapping of name to array of N rows
        Numbers, flags and texts.
    left_out : mapping of name to str
        Why a column cannot be stored, or belongs to no step.
    """

    where: str
    columns: Mapping[str, Array]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))


def json_batches(path: Path, policy: str | None, on_read: Callable[[int], None]) -> Iterator[Batch]:
    """Read a file of JSON lines.

    Parameters
    ----------
    path : Path
        The file.
    policy : str, optional
        Which policy's steps to take of batches that hold several.
    on_read : callable
        Is given the number of bytes that were read.

    Raises
    ------
    CorruptDataError
        If a line is not JSON.
    FormatError
        If a line is not a step or a batch of steps.
    """
    rows: list[dict[str, Any]] = []
    first = last = size = 0
    with refuse_special(path).open("rb") as file:
        _check_beginning(file.peek(_PEEKED)[:_PEEKED], path)
        for number in range(1, 1 << 62):
            line = file.readline(_MAX_LINE_BYTES + 1)
            on_read(len(line))
            where = f"{path}: line {number:,}"
            found = _object_in(line, where) if line.strip() else None
            if found is not None and not _is_batch(found):
                first, last = first or number, number
                rows.append(found)
                size += len(line)
            if rows and (not line or len(rows) == _ROWS or size > _ROW_BYTES or (found and _is_batch(found))):
                yield batch_of_rows(rows, f"{path}: lines {first:,} to {last:,}")
                rows, first, size = [], 0, 0
            if found is not None and _is_batch(found):
                yield from object_batch(found, policy, where)
            if not line:
                return


def _check_beginning(start: bytes, path: Path) -> None:
    text = start.removeprefix(codecs.BOM_UTF8).lstrip()
    if text and not text.startswith((b"{", b"[")):
        raise FormatError(f"{path}: expected lines of JSON objects or a Parquet file; it begins with {start[:8].hex()}")


def _object_in(line: bytes, where: str) -> dict[str, Any]:
    if len(line) > _MAX_LINE_BYTES:
        raise FormatError(f"{where}: longer than {_MAX_LINE_BYTES:,} bytes")
    found = parse_json(line, where, most=max(MAX_PARSED_BYTES, _LINE_GROWTH * len(line)))
    if not isinstance(found, dict):
        raise FormatError(f"{where}: expected a JSON object, a step or a batch of steps; found {described(found)}")
    return found


def _is_batch(found: Mapping[str, Any]) -> bool:
    return "type" in found or isinstance(found.get("rewards"), list)


def object_batch(found: Mapping[str, Any], policy: str | None, where: str) -> Iterator[Batch]:
    """Yield the batch that an object holds, unless it holds none of the policy's steps.

    Raises
    ------
    FormatError, UsageError
        If it is another object, or holds several policies and none was chosen.
    """
    kind = found.get("type", "SampleBatch")
    if kind not in _BATCH_TYPES:
        raise FormatError(f"{where}: expected the type {' or '.join(_BATCH_TYPES)}, found {str(kind)[:40]!r}")
    if kind == "SampleBatch":
        yield batch_of_columns({name: value for name, value in found.items() if name != "type"}, where)
        return
    policies = found.get("policy_batches")
    if not isinstance(policies, dict) or not all(isinstance(columns, dict) for columns in policies.values()):
        raise FormatError(f"{where}: expected an object 'policy_batches' with the columns of each policy")
    if policy is None and len(policies) > 1:
        raise UsageError(
            f"{where}: a batch of {len(policies)} policies ({listed(sorted(policies))}); choose one with --policy"
        )
    chosen = policies.get(policy) if policy is not None else next(iter(policies.values()), None)
    if chosen:
        yield batch_of_columns(chosen, where)


def batch_of_rows(rows: Sequence[Mapping[str, Any]], where: str) -> Batch:
    """Return a batch of steps, one in each object."""
    return batch_of_columns(_transposed(rows), where)


def batch_of_columns(found: Mapping[str, Any], where: str) -> Batch:
    """Return a batch of columns, each a list, a packed array or an object of such.

    Raises
    ------
    FormatError, CorruptDataError
        If a packed array is damaged or none.
    """
    columns: dict[str, Array] = {}
    left_out: dict[str, str] = {}
    for name, value in _leaves("", found):
        array = _array(value, where)
        if isinstance(array, str):
            left_out[name] = array
        else:
            columns[name] = array
    return Batch(where, columns, left_out)


def _transposed(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a list for each name, or what says that only some objects have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row[name] for row in rows] if all(name in row for row in rows) else _IN_SOME for name in names}


def _leaves(prefix: str, found: Any) -> Iterator[tuple[str, Any]]:
    """Yield every column below an object, and below lists of objects, with its path."""
    if isinstance(found, list) and found and all(isinstance(item, dict) for item in found):
        found = _transposed(found)
    if not isinstance(found, dict):
        yield prefix, found
        return
    for name, value in found.items():
        yield from _leaves(f"{prefix}/{name}" if prefix else name, value)


def _array(value: Any, where: str) -> Array | str:
    """Return a column as an array, or say why it is none."""
    if is_packed(value):
        array = unpack_array(value, where, extra=EXTRA, purpose=PURPOSE)
        return array if array.ndim else "not one value a step"
    if value is _IN_SOME:
        return "which only some steps have"
    if not isinstance(value, list):
        return "which is a text" if isinstance(value, str) else "not one value a step"
    if any(is_packed(item) for item in value):
        return _stacked([_unpacked(item, where) for item in value])
    if all(item is None for item in value):
        return "which is empty"
    try:
        array = np.array(value)
        if array.dtype.kind == "O":  # null stands for NaN, which JSON does not have
            array = np.array(value, np.float64)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return "whose values are not numbers, or differ in shape"
    return array if all(isinstance(item, str) for item in value) or array.dtype.kind in "biuf" else "which holds texts"


def _unpacked(item: Any, where: str) -> Array | None:
    return unpack_array(item, where, extra=EXTRA, purpose=PURPOSE) if is_packed(item) else None


def _stacked(arrays: Sequence[Array | None]) -> Array | str:
    present = [array for array in arrays if array is not None]
    if len(present) < len(arrays) or len({array.shape for array in present}) > 1:
        return "whose packed arrays differ in shape"
    return np.stack(present)
