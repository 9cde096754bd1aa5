"""The tensors of a chunk as arrays: Snappy-compressed bytes, integers as differences where the writer asked for it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rlbuffers.decoding.claims import require_room
from rlbuffers.decoding.snappy import decompress, decompressed_size
from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.sources.reverb.protos import Tensor

__all__ = ["decode_tensor", "dtype_of"]

Array = np.ndarray[Any, Any]
# TensorFlow's numbers of the types that have arrays here.
_DTYPES = {
    number: np.dtype(name)
    for number, name in {
        1: "float32",
        2: "float64",
        3: "int32",
        4: "uint8",
        5: "int16",
        6: "int8",
        9: "int64",
        10: "bool",
        17: "uint16",
        19: "float16",
        22: "uint32",
        23: "uint64",
    }.items()
}
_OTHERS = {
    7: "string",
    8: "complex64",
    11: "qint8",
    12: "quint8",
    13: "qint32",
    14: "bfloat16",
    15: "qint16",
    16: "quint16",
    18: "complex128",
    24: "float8_e5m2",
    25: "float8_e4m3fn",
    29: "int4",
    30: "uint4",
}


def dtype_of(number: int, where: str) -> np.dtype[Any] | str:
    """Return the type that a TensorFlow type number means, or the name of one that cannot be stored.

    Raises
    ------
    FormatError
        If Reverb has no such type.
    """
    known = _DTYPES.get(number) or _OTHERS.get(number)
    if known is None:
        raise FormatError(f"{where}: expected the number of a TensorFlow type, found {number}")
    return known


def decode_tensor(tensor: Tensor, where: str, *, delta_encoded: bool, most: int) -> Array:
    """Return the rows of a chunk's tensor.

    Parameters
    ----------
    tensor : Tensor
        As it is stored.
    where : str
        Names the chunk in error messages.
    delta_encoded : bool
        Whether integers are differences from row to row.
    most : int
        How many bytes the rows may take; see `rlbuffers.decoding.claims.most_bytes`.

    Raises
    ------
    FormatError, CorruptDataError
        If its type cannot be stored, or its bytes are damaged or not as many as its shape says.
    """
    dtype = dtype_of(tensor.dtype, where)
    if isinstance(dtype, str):
        raise FormatError(f"{where}: values of type {dtype} cannot be stored")
    if not tensor.shape:
        raise CorruptDataError(f"{where}: expected a tensor of rows, found a single value")
    expected = math.prod(tensor.shape) * dtype.itemsize
    size = decompressed_size(tensor.content, where)
    if size != expected:
        raise CorruptDataError(
            f"{where}: its shape {tensor.shape} and type {dtype} ask for {expected:,} bytes, its data are {size:,}"
        )
    require_room(size, most, where)
    data = decompress(tensor.content, where)
    rows: Array = (data != 0 if dtype.kind == "b" else data.view(dtype)).reshape(tensor.shape)
    return _summed(rows) if delta_encoded and dtype.kind in "iu" and rows.ndim > 1 else rows


def _summed(differences: Array) -> Array:
    """Undo the differences from row to row; they wrap around, so signed numbers are summed as unsigned ones."""
    unsigned = differences.view(np.dtype(f"u{differences.dtype.itemsize}"))
    return np.add.accumulate(unsigned, axis=0, dtype=unsigned.dtype).view(differences.dtype)
