"""Whether a store holds what its metadata say, asked once when a buffer is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.schema import BufferSpec, stored_arrays
from rlbuffers.stores.base import StoredArray

__all__ = ["checked_spec"]


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
    spec = BufferSpec.from_json(metadata.get("spec", {}))
    try:
        _check_arrays(metadata, spec, arrays, where)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{where}: the metadata lack something or contradict themselves: {error!r}") from error
    return spec


def _check_arrays(metadata: Mapping[str, Any], spec: BufferSpec, arrays: Mapping[str, StoredArray], where: str) -> None:
    found = {name: (array.dtype.name, list(array.shape)) for name, array in arrays.items()}
    stated = {name: (facts["dtype"], facts["shape"]) for name, facts in metadata["arrays"].items()}
    if found != stated:
        wrong = sorted(name for name in {*found, *stated} if found.get(name) != stated.get(name))[0]
        raise CorruptDataError(
            f"{where}: array {wrong!r}: the metadata says {stated.get(wrong)}, the file holds {found.get(wrong)}"
        )
    num_rows: dict[str, int] = {"transitions": int(metadata["counts"]["transitions"])}
    for name, array in stored_arrays(spec).items():
        dtype, shape = found.get(name, ("absent", [0]))
        if dtype != array.dtype.name or tuple(shape[1:]) != array.row_shape:
            raise CorruptDataError(f"{where}: array {name!r} is {dtype} {shape}, unlike the spec")
        expected = shape[0] if array.rows == "own" else num_rows.setdefault(array.rows, shape[0])
        if shape[0] != expected:
            raise CorruptDataError(f"{where}: array {name!r} has {shape[0]:,} rows, expected {expected:,}")
    if not isinstance(metadata["fingerprint"], str) or not isinstance(metadata["statistics"], dict):
        raise FormatError(f"{where}: the metadata lack a fingerprint or statistics")
