"""Writing the members of a NumPy archive, row by row where they are large."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rlbuffers.schema import ColumnSpec

__all__ = ["write_array", "write_rows", "write_scalars"]

Array = np.ndarray[Any, Any]
_npy: Any = np.lib.format  # NumPy's stubs leave it untyped


def write_rows(archive: zipfile.ZipFile, name: str, column: ColumnSpec, count: int, blocks: Iterable[Array]) -> None:
    """Write an array of `count` rows of a column, given in blocks in order."""
    header = {"descr": _npy.dtype_to_descr(column.dtype), "fortran_order": False, "shape": (count, *column.shape)}
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        _npy.write_array_header_2_0(member, header)
        for rows in blocks:
            member.write(np.ascontiguousarray(rows).data)


def write_array(archive: zipfile.ZipFile, name: str, array: Array) -> None:
    """Write an array that is in memory."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        _npy.write_array(member, array, allow_pickle=False)


def write_scalars(archive: zipfile.ZipFile, scalars: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the metadata's ``scalars``: name to ``{"dtype": ..., "value": ...}``."""
    for name, scalar in scalars.items():
        dtype = None if scalar["dtype"] == "str" else scalar["dtype"]
        write_array(archive, name, np.array(scalar["value"], dtype))
