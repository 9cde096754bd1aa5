"""Dumps of Tianshou's objects in HDF5: numbers are attributes, arrays data sets, and all else pickles in data sets.

Each data set names its kind. Only arrays are read, and the bytes of single numbers; nothing is unpickled.
"""

from __future__ import annotations

import pickletools
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rlbuffers.errors import FormatError
from rlbuffers.listing import listed
from rlbuffers.local_inputs import refuse_special
from rlbuffers.sources.hdf5_rows import rows_of

__all__ = [
    "ARRAYS",
    "KIND",
    "ROWS",
    "kind_of",
    "numbers_of",
    "refuse_others",
    "refuse_pickles",
    "whole_number",
]

ROWS = "_meta"
KIND = "__data_type__"
ARRAYS = ("ndarray", "Tensor")
_PICKLE_PROTOCOL = b"\x80"
_MAX_LISTED = 8
_PICKLED_NUMBERS = ("int64", "int32", "bool", "bool_")
_MAX_PICKLED_NUMBER_BYTES = 1000
_NUMPY_MODULES = (["numpy.core.multiarray"], ["numpy._core.multiarray"])
_NUMBER_TYPES = (["i8", "<"], ["i4", "<"], ["b1", "|"])


def refuse_pickles(path: Path) -> None:
    """Refuse what Tianshou's other way of saving writes.

    Raises
    ------
    FormatError
        If the file is a pickle; says how to save it again.
    """
    with refuse_special(path).open("rb") as file:
        is_pickle = file.read(1) == _PICKLE_PROTOCOL
    if is_pickle or path.suffix in (".pkl", ".pickle"):
        raise FormatError(
            f"{path}: a pickle can run any code when it is loaded, so it is not; where you trust it, load it with "
            'Tianshou and save it again: buffer.save_hdf5("x.hdf5")'
        )


def refuse_others(file: h5py.File, path: Path) -> None:
    """Refuse HDF5 files that hold no rows of a buffer.

    Raises
    ------
    FormatError
        If there is no group of rows.
    """
    if ROWS not in file:
        found = listed(sorted(file), _MAX_LISTED) or "nothing"
        raise FormatError(f"{path}: expected a file of Tianshou's save_hdf5, with a group '{ROWS}'; found {found}")


def kind_of(array: h5py.Dataset) -> str:
    """Return what a data set was before it was dumped."""
    kind = array.attrs.get(KIND, "unknown")
    return kind if isinstance(kind, str) else "unknown"


def numbers_of(file: h5py.File, datasets: dict[str, h5py.Dataset]) -> dict[str, int]:
    """Return the whole numbers and yes-or-no's at the root, by name.

    Tianshou writes them as attributes; in a buffer that was loaded and saved again they are NumPy's, and pickled.
    """
    found = {name: whole_number(value) for name, value in file.attrs.items()}
    for name, array in datasets.items():
        if "/" not in name and kind_of(array) in _PICKLED_NUMBERS:
            found[name] = _number_in_pickle(array)
    return {name: number for name, number in found.items() if number is not None}


def whole_number(value: Any) -> int | None:
    """Return a whole number as one; None for anything else."""
    array = np.asarray(value)
    return int(array) if array.ndim == 0 and array.dtype.kind in "iub" else None


def _number_in_pickle(array: h5py.Dataset) -> int | None:
    """Find the bytes of a NumPy number in its pickle, whose instructions are listed and not followed."""
    if array.ndim != 1 or array.dtype != np.int8 or len(array) > _MAX_PICKLED_NUMBER_BYTES:
        return None
    try:
        arguments = [argument for _, argument, _ in pickletools.genops(rows_of(array).tobytes())]
    except (ValueError, IndexError, struct.error):
        return None
    words = " ".join(argument for argument in arguments if isinstance(argument, str)).split()
    contents = [argument for argument in arguments if isinstance(argument, bytes)]
    module, names, described = words[:1], words[1:4], words[4:]
    if module not in _NUMPY_MODULES or names != ["scalar", "numpy", "dtype"] or described not in _NUMBER_TYPES:
        return None
    dtype = np.dtype(described[1] + described[0])
    if len(contents) != 1 or len(contents[0]) != dtype.itemsize:
        return None
    return int(np.frombuffer(contents[0], dtype)[0])
