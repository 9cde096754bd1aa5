"""NumPy archives (``.npz``): a ZIP of ``.npy`` members, read into memory.

`numpy.load` believes what an archive announces; here the size of each array is held against the bytes
that are stored for it before memory is taken. Arrays of Python objects, which are pickles, are refused.
"""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from rlbuffers.errors import CorruptDataError, FormatError, RlbuffersError

__all__ = ["read_npz"]

Array = np.ndarray[Any, Any]
_ZIP = b"PK"
_SUFFIX = ".npy"
# Deflate makes at most 1,032 bytes of one; what NumPy writes is deflated or stored.
_MAX_EXPANSION = 1100
_MAX_HEADER_BYTES = 10_000
_npy: Any = np.lib.format  # NumPy's stubs leave it untyped
_HEADERS = {(1, 0): _npy.read_array_header_1_0, (2, 0): _npy.read_array_header_2_0}
# What NumPy's parser, which evaluates a literal, lets out when the text is none.
_HEADER_ERRORS = (ValueError, TypeError, SyntaxError, tokenize.TokenError, RecursionError)
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, UnicodeDecodeError)
_UNREADABLE = (NotImplementedError, RuntimeError)  # other compression, a password


def read_npz(path: Path) -> tuple[dict[str, Array], list[str]]:
    """Read all arrays of an archive.

    Parameters
    ----------
    path : Path
        An existing file.

    Returns
    -------
    arrays : dict
        Arrays by name, in native byte order.
    left_out : list of str
        A sentence for each member that is no array.

    Raises
    ------
    FormatError
        If it is no archive, or one of objects, or packed in a way that NumPy does not write.
    CorruptDataError
        If it is damaged or cut short, or announces more than it stores.
    """
    with path.open("rb") as file:
        if file.read(len(_ZIP)) != _ZIP:
            raise FormatError(f"{path}: expected a NumPy archive (.npz); its first bytes are not those of a ZIP file")
    arrays, left_out = {}, []
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.filename.endswith(_SUFFIX):
                    arrays[member.filename.removesuffix(_SUFFIX)] = _read_member(archive, member, path)
                else:
                    left_out.append(f"{member.filename!r}, which is no array")
    except RlbuffersError:
        raise
    except _DAMAGE as error:
        raise CorruptDataError(f"{path}: not a whole NumPy archive (.npz): {error}") from error
    except _UNREADABLE as error:
        raise FormatError(f"{path}: expected a NumPy archive (.npz) as numpy.savez writes it: {error}") from error
    return arrays, left_out


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> Array:
    where = f"{path}: {member.filename!r}"
    if member.file_size > member.compress_size * _MAX_EXPANSION:
        raise CorruptDataError(
            f"{where} announces {member.file_size:,} bytes, of which {member.compress_size:,} packed ones are stored"
        )
    with archive.open(member) as stream:
        dtype, shape, is_fortran = _header(stream, where)
        count = math.prod(shape)
        if min(shape, default=0) < 0 or count * dtype.itemsize != member.file_size - stream.tell():
            raise CorruptDataError(
                f"{where} announces {dtype} {shape} and has {member.file_size - stream.tell():,} bytes"
            )
        content = bytearray(count * dtype.itemsize)
        filled = 0
        while part := stream.read(len(content) - filled + 1):  # one more: the checksum is compared at the end
            content[filled : filled + len(part)] = part
            filled += len(part)
    if filled != count * dtype.itemsize:
        raise CorruptDataError(f"{where} is cut short")
    rows: Array = np.frombuffer(content, dtype, count) if content else np.empty(count, dtype)
    rows = rows.reshape(shape, order="F" if is_fortran else "C")
    return np.ascontiguousarray(rows, rows.dtype.newbyteorder("=")).reshape(shape)


def _header(stream: IO[bytes], where: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    try:
        version = _npy.read_magic(stream)
        if version not in _HEADERS:
            raise FormatError(f"{where}: expected version 1 or 2 of the .npy format, found {version}")
        shape, is_fortran, dtype = _HEADERS[version](stream, max_header_size=_MAX_HEADER_BYTES)
    except _HEADER_ERRORS as error:
        if isinstance(error, RlbuffersError):
            raise
        raise FormatError(f"{where}: its .npy header cannot be understood: {error}") from error
    if dtype.hasobject:
        raise FormatError(f"{where}: expected numbers, found Python objects (a pickle), which are not read")
    return dtype, shape, is_fortran
