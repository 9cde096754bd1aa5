"""Opening HDF5 files that may be damaged, cut short, or something else."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from rlbuffers.errors import CorruptDataError, FormatError, RlbuffersError
from rlbuffers.sources.files import require_file

__all__ = ["check_size", "datasets_of", "opened_hdf5"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Deflate makes at most 1,032 bytes of one.
_MAX_EXPANSION = 1100
_UNSUSPICIOUS_BYTES = 1 << 20
_MAX_CHUNK_BYTES = 1 << 30


@contextmanager
def opened_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading, and translate what h5py raises on a damaged one inside the block.

    Raises
    ------
    BufferNotFoundError
        If there is no such file.
    FormatError
        If it is not HDF5, or has a name at its root that is no text.
    CorruptDataError
        If it is damaged or cut short.
    """
    with require_file(path).open("rb") as file:
        if file.read(len(_SIGNATURE)) != _SIGNATURE:
            raise FormatError(f"{path}: expected an HDF5 file; its first bytes are not HDF5's signature")
    try:
        with h5py.File(path, "r", locking=False) as hdf5:
            for name in hdf5:
                _require_text(name, path)
            yield hdf5
    except RlbuffersError:
        raise
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        # Of a damaged type h5py says TypeError or ValueError, which in our own code would be faults of ours.
        if isinstance(error, TypeError | ValueError) and not _comes_from_h5py(error):
            raise
        reason = str(error).strip("'\"").splitlines()[0] if str(error) else repr(error)
        raise CorruptDataError(
            f"{path}: damaged or cut short; the HDF5 library says: {reason}. Fetch the file again"
        ) from error


def _require_text(name: str | bytes, path: str | Path) -> None:
    """Refuse a name that h5py cannot decode, and gives as bytes."""
    if isinstance(name, bytes):
        raise FormatError(f"{path}: expected names of arrays in UTF-8, found {name!r}; the file may be damaged")


def _comes_from_h5py(error: Exception) -> bool:
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).split(".")[0] == "h5py"


def datasets_of(file: h5py.Group, ignore: str = "") -> tuple[dict[str, h5py.Dataset], list[str]]:
    """List the datasets of a file, or of a group in it, whose content stands in the file itself.

    Parameters
    ----------
    file : h5py.Group
        The open file, or a group in it.
    ignore : str, default ""
        Name of a group directly in it that is not looked into.

    Returns
    -------
    datasets : dict
        Datasets by their names, as seen from the file or the group.
    left_out : list of str
        A sentence for each of the others.

    Raises
    ------
    FormatError
        If a name is no text.
    """
    datasets: dict[str, h5py.Dataset] = {}
    left_out = []

    def note(name: str, item: h5py.Dataset | h5py.Group) -> None:
        _require_text(name, file.file.filename)
        if not isinstance(item, h5py.Dataset) or (ignore and name.startswith(f"{ignore}/")):
            return
        if item.shape is None:
            left_out.append(f"{name!r}, which is empty")
        elif item.is_virtual or item.external:
            left_out.append(f"{name!r}, whose content stands in other places")
        else:
            datasets[name] = item

    file.visititems(note)
    if ignore and ignore in file:
        left_out.append(f"the group '{ignore}/'")
    return datasets, left_out


def check_size(array: h5py.Dataset, path: Path) -> None:
    """Refuse sizes that the stored bytes cannot have been made of, before anything is allocated.

    Raises
    ------
    CorruptDataError
        If the dataset announces more than its stored bytes can hold.
    FormatError
        If it has no shape, its content stands in other files, or one of its chunks would fill the memory.
    """
    if array.is_virtual or array.external:
        raise FormatError(f"{path}: {array.name!r}: its content stands in other places, which is not followed")
    if array.shape is None:
        raise FormatError(f"{path}: {array.name!r}: expected an array, found one without a shape")
    stored = array.id.get_storage_size()
    if array.nbytes > stored * _MAX_EXPANSION + _UNSUSPICIOUS_BYTES:
        raise CorruptDataError(
            f"{path}: {array.name!r} announces {array.nbytes:,} bytes, of which {stored:,} compressed ones are stored; "
            "the file is damaged or was never filled"
        )
    chunk_bytes = array.dtype.itemsize * int(np.prod(array.chunks or 0, dtype=object))
    if chunk_bytes > _MAX_CHUNK_BYTES:
        raise FormatError(f"{path}: {array.name!r} has chunks of {chunk_bytes:,} bytes; too large to read")
