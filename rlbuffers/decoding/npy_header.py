"""The header of NumPy's ``.npy`` format: its dtype and shape, which are text until they are checked.

`numpy.lib.format` evaluates the header as a Python literal and passes on what stands there: sizes that are negative or
flags, dtypes of objects, more axes than an array has.
"""

from __future__ import annotations

import io
import math
import tokenize
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from rlbuffers.errors import FormatError

__all__ = ["read_header"]

_MAGIC = b"\x93NUMPY"
_MAX_HEADER_BYTES = 10_000
_npy: Any = np.lib.format  # NumPy's stubs leave it untyped
# Version to the size of the header's length, and what parses it; version 3 is for names of structured dtypes.
_VERSIONS: dict[bytes, tuple[int, Any]] = {
    b"\x01\x00": (2, _npy.read_array_header_1_0),
    b"\x02\x00": (4, _npy.read_array_header_2_0),
}
# What NumPy's parser, which evaluates a literal, lets out when the text is none.
_ERRORS = (ValueError, TypeError, SyntaxError, KeyError, IndexError, AttributeError, tokenize.TokenError)
_EXHAUSTED = (RecursionError, MemoryError, OverflowError)
_MAX_AXES = 32
_MAX_BYTES = (1 << 63) - 1


def read_header(read: Callable[[int], bytes], where: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Read the header from the beginning of a stream.

    Parameters
    ----------
    read : callable
        Returns the next bytes of the stream, as many as it is asked for.
    where : str
        What is read, for messages.

    Returns
    -------
    dtype, shape, is_fortran
        Whether the first axis runs fastest, in arrays of several.

    Raises
    ------
    FormatError
        If it is none, or announces what no array can be.
    """
    start = read(len(_MAGIC) + 2)
    if not start.startswith(_MAGIC) or start[len(_MAGIC) :] not in _VERSIONS:
        raise FormatError(
            f"{where}: expected a NumPy array of numbers (.npy, version 1 or 2); it begins with {start.hex()}"
        )
    size, parse = _VERSIONS[start[len(_MAGIC) :]]
    length = read(size)
    text = length + read(min(int.from_bytes(length, "little"), _MAX_HEADER_BYTES))
    try:
        with warnings.catch_warnings():  # of texts that happen to be odd Python
            warnings.simplefilter("ignore")
            shape, is_fortran, dtype = parse(io.BytesIO(text), max_header_size=_MAX_HEADER_BYTES)
    except (*_ERRORS, *_EXHAUSTED) as error:
        reason = (str(error) or repr(error)).splitlines()[0]
        raise FormatError(f"{where}: its .npy header cannot be understood: {reason:.200}") from error
    sizes = [size for size in shape if isinstance(size, int) and not isinstance(size, bool) and size >= 0]
    is_possible = len(sizes) == len(shape) <= _MAX_AXES
    if not is_possible or math.prod(size or 1 for size in sizes) * max(dtype.itemsize, 1) > _MAX_BYTES:
        raise FormatError(f"{where}: its .npy header announces {dtype} of shape {shape!s:.100}, which no array has")
    return dtype, tuple(sizes), bool(is_fortran) and len(sizes) > 1
