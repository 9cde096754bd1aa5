"""Opening HDF5 files that may be damaged, cut short, never filled, or something else, or that lead to other files."""

from __future__ import annotations

import math
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from rlbuffers.errors import CorruptDataError, FormatError, RlbuffersError
from rlbuffers.hdf5_errors import reason_of
from rlbuffers.hdf5_links import (
    STORED_IN,
    SUPERBLOCK_BYTES,
    is_other_file,
    linked_file,
    names_below,
    refuse_outside,
    require_closed,
)
from rlbuffers.local_inputs import follows_links
from rlbuffers.sources.files import require_file
from rlbuffers.sources.hdf5_safety import Probed, probed

__all__ = ["WrittenChunks", "check_size", "datasets_of", "opened_hdf5"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Deflate makes at most 1,032 bytes of one.
_MAX_EXPANSION = 1100
_UNSUSPICIOUS_BYTES = 1 << 20
_MAX_CHUNK_BYTES = 1 << 30
_MAX_LISTED = 8
# What was found in files, so that they are not looked through at each opening.
_MAX_REMEMBERED = 64
_Identity = tuple[int, ...]
_looked_through: dict[_Identity, Probed] = {}


@contextmanager
def opened_hdf5(path: Path, *, or_buffer: bool = False) -> Iterator[h5py.File]:
    """Open a file for reading, and translate what h5py raises on a damaged one inside the block.

    The HDF5 library loops or crashes over some damage, so it looks through each file in another process first
    (`rlbuffers.sources.hdf5_safety`). What the file brings stands in the file itself: one that leads to other files is
    refused before any of them is opened, unless links are followed (`rlbuffers.local_inputs.followed_links`).

    Parameters
    ----------
    path : Path
        The file.
    or_buffer : bool, default False
        Whether it may be a buffer of rlbuffers, of which only the root's names and attributes may be asked.

    Raises
    ------
    BufferNotFoundError
        If there is no such file.
    FormatError
        If it is not HDF5, is open for writing, leads to other files, is a buffer, or has a name at its root that is no
        text.
    CorruptDataError
        If it is damaged or cut short.
    """
    found = _require_sound(path, set())
    if found.is_buffer and not or_buffer:
        raise FormatError(f"{path}: expected another library's file, found an rlbuffers buffer")
    try:
        with h5py.File(path, "r", locking=False) as hdf5:
            for name in hdf5:
                _require_text(name, path)
            if found.raised:
                raise OSError(found.raised)
            yield hdf5
    except RlbuffersError:
        raise
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        # Of a damaged type h5py says TypeError or ValueError, which in our own code would be faults of ours.
        if isinstance(error, TypeError | ValueError) and not _comes_from_h5py(error):
            raise
        raise CorruptDataError(
            f"{path}: damaged or cut short; the HDF5 library says: {reason_of(error)}. Fetch the file again"
        ) from error


def _require_sound(path: Path, followed: set[_Identity]) -> Probed:
    """Look through a file, and through those that it leads to if links are followed."""
    with require_file(path).open("rb") as file:
        first = file.read(SUPERBLOCK_BYTES)
        status = os.fstat(file.fileno())
    if first[: len(_SIGNATURE)] != _SIGNATURE:
        raise FormatError(f"{path}: expected an HDF5 file; its first bytes are not HDF5's signature")
    require_closed(first, path)
    identity = _identity(status)
    if identity not in _looked_through:
        found = probed(path)
        if len(_looked_through) >= _MAX_REMEMBERED:
            _looked_through.clear()
        _looked_through[identity] = found
    found = _looked_through[identity]
    followed.add(identity)
    for lead in found.outside:
        if not follows_links():
            refuse_outside(path.parent, path, lead)
        other = linked_file(path.parent, path, lead)
        if lead[1] != STORED_IN and _identity(other.stat()) not in followed:  # of raw storage any file will do
            _require_sound(other, followed)
    return found


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _require_text(name: str | bytes, path: str | Path) -> None:
    """Refuse a name that h5py cannot decode, and gives as bytes."""
    if isinstance(name, bytes):
        raise FormatError(f"{path}: expected names of arrays in UTF-8, found {name!r}; the file may be damaged")


def _comes_from_h5py(error: Exception) -> bool:
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).split(".")[0] == "h5py"


def datasets_of(group: h5py.Group, ignore: str = "") -> tuple[dict[str, h5py.Dataset], list[str]]:
    """List the datasets of a file, or of a group in it, under every name that leads to them.

    Parameters
    ----------
    group : h5py.Group
        The open file, or a group in it.
    ignore : str, default ""
        Name of a group directly in it that is not looked into.

    Returns
    -------
    datasets : dict
        Datasets by their names, as seen from the file or the group.
    left_out : list of str
        A sentence for each name that leads to no array.

    Raises
    ------
    FormatError
        If a name is no text, or a group is in very many others.
    """
    datasets: dict[str, h5py.Dataset] = {}
    left_out = []
    for name, item in names_below(group):
        if isinstance(item, h5py.Group) or (ignore and name.startswith(f"{ignore}/")):
            continue
        if item is None:
            left_out.append(f"{name!r}, a link that leads to nothing, or back to a group that it is in")
        elif item.shape is None:
            left_out.append(f"{name!r}, which is empty")
        else:
            datasets[name] = item
    if ignore and ignore in group:
        left_out.append(f"the group '{ignore}/'")
    return datasets, left_out


def check_size(array: h5py.Dataset, path: Path) -> None:
    """Refuse sizes that the stored bytes cannot have been made of, before anything is allocated.

    Raises
    ------
    CorruptDataError
        If the dataset announces more than its stored bytes can hold.
    FormatError
        If it has no shape, one of its chunks would fill the memory, or it is a virtual dataset of what is not there.
    """
    if array.shape is None:
        raise FormatError(f"{path}: {array.name!r}: expected an array, found one without a shape")
    stored = sum(_mapped_bytes(array, path)) if array.is_virtual else array.id.get_storage_size()
    if array.nbytes > stored * _MAX_EXPANSION + _UNSUSPICIOUS_BYTES:
        raise CorruptDataError(
            f"{path}: {array.name!r} announces {array.nbytes:,} bytes, of which {stored:,} compressed ones are stored; "
            "the file is damaged or was never filled"
        )
    chunk_bytes = array.dtype.itemsize * int(np.prod(array.chunks or 0, dtype=object))
    if chunk_bytes > _MAX_CHUNK_BYTES:
        raise FormatError(f"{path}: {array.name!r} has chunks of {chunk_bytes:,} bytes; too large to read")


def _mapped_bytes(array: h5py.Dataset, path: Path) -> Iterator[int]:
    """Yield the stored bytes of each array that a virtual one shows; HDF5 says nothing of one that is not there."""
    for source in array.virtual_sources():
        other = is_other_file(source.file_name, array)
        with _file_of(array, source.file_name, path) as file:
            found = file.get(source.dset_name)
            if not isinstance(found, h5py.Dataset) or found.shape is None:
                where = f" in {source.file_name!r}" if other else ""
                raise FormatError(
                    f"{path}: {array.name!r} is a virtual dataset of {source.dset_name!r}{where}, which is not there"
                )
            if found.is_virtual:
                raise FormatError(
                    f"{path}: {array.name!r} is a virtual dataset of another virtual one, which is not read"
                )
            check_size(found, path)
            yield found.id.get_storage_size()


@contextmanager
def _file_of(array: h5py.Dataset, name: str, path: Path) -> Iterator[h5py.File]:
    """Open the file of a mapping of a virtual dataset; its own one is open."""
    if not is_other_file(name, array):
        yield array.file
        return
    beside = path.parent / name
    with h5py.File(beside if beside.exists() else name, "r", locking=False) as file:
        yield file


@dataclass
class _Counted:
    missing: int = 0
    total: int = 0
    arrays: int = 0
    is_needed: bool = False


class WrittenChunks:
    """Counts the chunks of datasets that were never written: HDF5 reads them as fill values, mostly zeros.

    Parameters
    ----------
    path : Path
        The file, for messages.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counted: dict[str, _Counted] = {}

    def look(self, array: h5py.Dataset, column: str, *, is_needed: bool) -> None:
        """Count a dataset's chunks.

        Parameters
        ----------
        array : h5py.Dataset
            The dataset, or one of several that make a column, such as those of all episodes.
        column : str
            The column, for messages.
        is_needed : bool
            Whether nothing can be made of the file without it.
        """
        missing, total = _missing_chunks(array)
        counted = self._counted.setdefault(column, _Counted(is_needed=is_needed))
        counted.missing += missing
        counted.total += total
        counted.arrays += missing > 0

    def require(self) -> None:
        """Refuse a file without most of a column that is needed.

        Raises
        ------
        CorruptDataError
            If most chunks of such a column were never written.
        """
        for column, counted in self._counted.items():
            if counted.is_needed and 2 * counted.missing > counted.total:
                raise CorruptDataError(
                    f"{self._path}: {_told(column, counted)}, so most of this column is not in the file. Its writer "
                    "was interrupted, or has not filled it yet: get a whole file"
                )

    @property
    def warnings(self) -> list[str]:
        """A sentence for each column of which chunks were never written."""
        found = [_told(column, counted) for column, counted in self._counted.items() if counted.missing]
        more = [f"Chunks of {len(found) - _MAX_LISTED:,} more arrays were never written."][: len(found) > _MAX_LISTED]
        return [f"{text}: rows in them are fill values (mostly 0), not data." for text in found[:_MAX_LISTED]] + more


def _told(column: str, counted: _Counted) -> str:
    where = f", in {counted.arrays:,} arrays," if counted.arrays > 1 else ""
    return f"{counted.missing:,} of {counted.total:,} chunks of {column!r}{where} were never written"


def _missing_chunks(array: h5py.Dataset) -> tuple[int, int]:
    """Return (chunks that were never written, chunks); what has no chunks is one, of a virtual array each mapping."""
    if not array.size:
        return 0, 0
    if array.chunks is not None:
        total = math.prod(-(-size // chunk) for size, chunk in zip(array.shape, array.chunks, strict=True))
        return max(total - array.id.get_num_chunks(), 0), total
    if array.is_virtual:
        shown = sum(source.vspace.get_select_npoints() for source in array.virtual_sources())
        return max(array.size - shown, 0), array.size
    if array.external:  # HDF5 fills up what such files lack, without a word
        there = (min(size, Path(name).stat().st_size - offset) for name, offset, size in array.external)
        return int(sum(max(part, 0) for part in there) < array.nbytes), 1
    return int(array.id.get_storage_size() == 0), 1
