"""NumPy ``.npy`` streams inside GZIP files, read row by row.

The format is that of ``numpy.save``: a magic string, a header with dtype and shape, the items. The
arrays may be far larger than memory. The header is only text until a caller, who can check it first,
asks for rows. Arrays of Python objects, which are pickles, are refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.decoding.gzip_stream import gunzip
from rlbuffers.decoding.npy_header import read_header
from rlbuffers.errors import CorruptDataError, FormatError

__all__ = ["NpyStream"]

Array = np.ndarray[Any, Any]
_KINDS = "biuf"


class NpyStream:
    """One array of numbers, read once from beginning to end.

    Parameters
    ----------
    path : Path
        The GZIP file.
    on_read : callable, optional
        Is given the compressed bytes as they are read, for hashing and progress.

    Attributes
    ----------
    dtype : numpy.dtype
        Of the items, as stored.
    shape : tuple of int
        Of the whole array.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or it is no such stream; says what was found.
    """

    def __init__(self, path: Path, on_read: Callable[[bytes], None] | None = None) -> None:
        self.path = path
        self._pieces = gunzip(path, on_read)
        self._piece = memoryview(b"")
        self._row = 0
        self.dtype, self.shape = self._header()
        self._row_bytes = self.dtype.itemsize * math.prod(self.shape[1:])

    def _header(self) -> tuple[np.dtype[Any], tuple[int, ...]]:
        dtype, shape, is_fortran = read_header(self._bytes, str(self.path))
        if dtype.hasobject:
            raise FormatError(f"{self.path}: expected numbers, found Python objects (a pickle), which are not read")
        if dtype.kind not in _KINDS or is_fortran:
            order = " in Fortran order" if is_fortran else ""
            raise FormatError(f"{self.path}: expected numbers in C order, found {dtype} {shape}{order}")
        return dtype, shape

    def read_into(self, out: Array) -> None:
        """Fill `out`, C-ordered and of the stored dtype, with as many rows as it has.

        Raises
        ------
        CorruptDataError
            If the stream ends before; says at which row.
        """
        target = out.reshape(-1).view(np.uint8).data
        filled = 0
        while filled < len(target):
            part = self._next(len(target) - filled, filled)
            target[filled : filled + len(part)] = part
            filled += len(part)
        self._row += len(out)

    def read(self, rows: int) -> Array:
        """Return the next rows; a single number is a row of an array of shape ()."""
        out = np.empty((rows, *self.shape[1:]), self.dtype)
        self.read_into(out)
        return out

    def skip(self, rows: int) -> None:
        """Pass over rows."""
        left = rows * self._row_bytes
        while left:
            left -= len(self._next(left, rows * self._row_bytes - left))
        self._row += rows

    def finish(self) -> None:
        """Verify that the file ends here, and with it the GZIP checksum.

        Raises
        ------
        CorruptDataError
            If bytes follow.
        """
        if self._piece or any(self._pieces):
            raise CorruptDataError(f"{self.path}: bytes follow the {self.shape} array that the header announces")

    def _bytes(self, count: int) -> bytes:
        """Return the next bytes, fewer where the stream ends."""
        found = b""
        while len(found) < count and (part := self._take(count - len(found))):
            found += part
        return found

    def _next(self, count: int, done: int) -> memoryview:
        """Return some of the next `count` bytes of a request of which `done` bytes were given."""
        part = self._take(count)
        if not part:
            row = self._row + done // self._row_bytes
            raise CorruptDataError(
                f"{self.path}: cut short; expected an array of shape {self.shape}, it ends in row {row:,}"
            )
        return part

    def _take(self, count: int) -> memoryview:
        if not self._piece:
            self._piece = memoryview(next(self._pieces, b""))
        part, self._piece = self._piece[:count], self._piece[count:]
        return part
