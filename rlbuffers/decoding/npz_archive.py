"""NumPy archives (``.npz``): a ZIP of ``.npy`` members, read whole or row by row.

`numpy.load` believes what an archive announces; here the size of each array is held against the bytes
that are stored for it before memory is taken. Arrays of Python objects, which are pickles, are passed
over: nothing of them is read but the header.
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from rlbuffers.decoding.claims import FREE_BYTES, RECORD_GROWTH, require_room
from rlbuffers.decoding.npy_header import read_header
from rlbuffers.decoding.zip_directory import require_few_members
from rlbuffers.errors import CorruptDataError, FormatError, RlbuffersError
from rlbuffers.local_inputs import refuse_special

__all__ = ["NpzArchive", "NpzMember", "read_npz"]

Array = np.ndarray[Any, Any]
_ZIP = b"PK"
_SUFFIX = ".npy"
# Deflate makes at most 1,032 bytes of one; what NumPy writes is deflated or stored.
_MAX_EXPANSION = 1100
_PART_BYTES = 1 << 20
# What is held at once: flags and rewards as a whole, an episode of all else. Flags of 128 million rows may be zeros.
_FREE_ARRAY_BYTES = 2 * FREE_BYTES
_ARRAY_GROWTH = 4 * RECORD_GROWTH
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, UnicodeDecodeError)
_UNREADABLE = (NotImplementedError, RuntimeError)  # other compression, a password


@dataclass(frozen=True)
class NpzMember:
    """What the header of one array says.

    Parameters
    ----------
    dtype : numpy.dtype
        As stored, so maybe in another byte order than the machine's.
    shape : tuple of int
        Sizes of all axes.
    is_fortran : bool
        Whether the first axis runs fastest; such an array cannot be read row by row.
    info : zipfile.ZipInfo
        Where it is in the archive.
    header_bytes : int
        Where its content begins.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    is_fortran: bool
    info: zipfile.ZipInfo
    header_bytes: int


class NpzArchive:
    """The arrays of one archive; their headers are read at once, their content when it is asked for.

    Parameters
    ----------
    path : Path
        An existing file. It is not kept open.

    Attributes
    ----------
    arrays : dict of str to NpzMember
        Arrays by name.
    pickled : list of str
        Names of arrays of Python objects, which are not read.
    left_out : list of str
        A sentence for each member that is no array, or one of objects.
    comment : bytes
        Of the archive.

    Raises
    ------
    FormatError
        If it is no archive, or packed in a way that NumPy does not write.
    CorruptDataError
        If it is damaged or cut short, or announces more than it stores.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.arrays: dict[str, NpzMember] = {}
        self.pickled: list[str] = []
        self.left_out: list[str] = []
        with refuse_special(path).open("rb") as file:
            if file.read(len(_ZIP)) != _ZIP:
                raise FormatError(
                    f"{path}: expected a NumPy archive (.npz); its first bytes are not those of a ZIP file"
                )
        with self._opened() as archive:
            self.comment = archive.comment
            for info in archive.infolist():
                self._add(archive, info)

    def _add(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        if not info.filename.endswith(_SUFFIX):
            self.left_out.append(f"{info.filename!r}, which is no array")
            return
        name = info.filename.removesuffix(_SUFFIX)
        member = _member(archive, info, f"{self.path}: {info.filename!r}")
        if member.dtype.hasobject:
            self.pickled.append(name)
            self.left_out.append(f"{name!r}, which holds Python objects (a pickle)")
        else:
            self.arrays[name] = member

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(require_few_members(self.path)) as archive:
                yield archive
        except RlbuffersError:
            raise
        except _DAMAGE as error:
            raise CorruptDataError(f"{self.path}: not a whole NumPy archive (.npz): {error}") from error
        except _UNREADABLE as error:
            raise FormatError(
                f"{self.path}: expected a NumPy archive (.npz) as numpy.savez writes it: {error}"
            ) from error

    def read(self, name: str) -> Array:
        """Read a whole array, in native byte order.

        Raises
        ------
        CorruptDataError
            If the archive is damaged.
        """
        member = self.arrays[name]
        with self._opened() as archive, archive.open(member.info) as stream:
            stream.read(member.header_bytes)
            return self._content(name, stream)

    def _content(self, name: str, stream: IO[bytes]) -> Array:
        member = self.arrays[name]
        dtype, shape = member.dtype, member.shape
        count = math.prod(shape)
        content = _filled(stream, count * dtype.itemsize, member, f"{self.path}: {member.info.filename!r}")
        stream.read(1)  # the checksum is compared at the end
        rows: Array = np.frombuffer(content, dtype, count) if content else np.empty(count, dtype)
        rows = rows.reshape(shape, order="F" if member.is_fortran else "C")
        return np.ascontiguousarray(rows, rows.dtype.newbyteorder("=")).reshape(shape)

    def rows(self, spans: Iterable[tuple[int, int]], names: Sequence[str]) -> Iterator[dict[str, Array]]:
        """Yield rows `start` to `stop`, exclusive, of arrays, for each span; each array is unpacked once.

        Parameters
        ----------
        spans : iterable of (start, stop)
            In ascending order; one may begin before the one before it ends.
        names : sequence of str
            Arrays, each with a row more than any `stop` or as many.

        Raises
        ------
        CorruptDataError
            If the archive is damaged.
        """
        with self._opened() as archive, ExitStack() as stack:
            readers = {name: self._reader(name, archive, stack) for name in names}
            for start, stop in spans:
                yield {name: reader.read(start, stop) for name, reader in readers.items()}
            for reader in readers.values():
                reader.finish()

    def _reader(self, name: str, archive: zipfile.ZipFile, stack: ExitStack) -> _HeldRows | _StreamedRows:
        member = self.arrays[name]
        stream = stack.enter_context(archive.open(member.info))
        stream.read(member.header_bytes)
        if member.is_fortran:
            return _HeldRows(self._content(name, stream))
        return _StreamedRows(stream, member, f"{self.path}: {member.info.filename!r}")


class _HeldRows:
    """Rows of an array that is held as a whole."""

    def __init__(self, rows: Array) -> None:
        self._rows = rows

    def read(self, start: int, stop: int) -> Array:
        return self._rows[start:stop]

    def finish(self) -> None:
        """Do nothing: all was read."""


class _StreamedRows:
    """Rows of one array in ascending order, from a stream of its bytes."""

    def __init__(self, stream: IO[bytes], member: NpzMember, where: str) -> None:
        self._stream = stream
        self._dtype = member.dtype
        self._shape = member.shape[1:]
        self._where = where
        self._member = member
        self._row_bytes = member.dtype.itemsize * math.prod(self._shape)
        self._first = 0
        self._held = self._next(0)

    def read(self, start: int, stop: int) -> Array:
        end = self._first + len(self._held)
        kept = self._held[max(start - self._first, 0) :]
        while end < start:  # rows that nobody asks for
            end += len(self._next(min(start - end, max(_PART_BYTES // max(self._row_bytes, 1), 1))))
        rows = np.concatenate([kept, self._next(stop - end)]) if stop > end else kept
        self._first, self._held = start, rows
        return rows[: stop - start]

    def _next(self, count: int) -> Array:
        content = _filled(self._stream, count * self._row_bytes, self._member, self._where)
        rows: Array = np.frombuffer(content, self._dtype).reshape(count, *self._shape)
        return rows.astype(self._dtype.newbyteorder("="), copy=False)

    def finish(self) -> None:
        """Read what is left, so that the checksum of the whole is compared."""
        while self._stream.read(_PART_BYTES):
            pass


def read_npz(path: Path) -> tuple[dict[str, Array], list[str]]:
    """Read all arrays of an archive into memory.

    Parameters
    ----------
    path : Path
        An existing file.

    Returns
    -------
    arrays : dict
        Arrays by name, in native byte order.
    left_out : list of str
        A sentence for each member that is no array, or one of Python objects.

    Raises
    ------
    FormatError, CorruptDataError
        See `NpzArchive`.
    """
    archive = NpzArchive(path)
    return {name: archive.read(name) for name in archive.arrays}, archive.left_out


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> NpzMember:
    if info.file_size > info.compress_size * _MAX_EXPANSION:
        raise CorruptDataError(
            f"{where} announces {info.file_size:,} bytes, of which {info.compress_size:,} packed ones are stored"
        )
    with archive.open(info) as stream:
        dtype, shape, is_fortran = read_header(stream.read, where)
        stored = info.file_size - stream.tell()
        if not dtype.hasobject and math.prod(shape) * dtype.itemsize != stored:
            raise CorruptDataError(f"{where} announces {dtype} {shape} and has {stored:,} bytes")
        return NpzMember(dtype, shape, is_fortran, info, stream.tell())


def _filled(stream: IO[bytes], num_bytes: int, member: NpzMember, where: str) -> bytearray:
    require_room(num_bytes, max(_FREE_ARRAY_BYTES, _ARRAY_GROWTH * member.info.compress_size), where)
    content = bytearray(num_bytes)
    filled = 0
    while filled < num_bytes:
        part = stream.read(min(num_bytes - filled, _PART_BYTES))  # zipfile holds what it is asked for twice
        if not part:
            raise CorruptDataError(f"{where} is cut short")
        content[filled : filled + len(part)] = part
        filled += len(part)
    return content
