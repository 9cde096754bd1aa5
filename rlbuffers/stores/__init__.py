"""The storage backends: a table from format name to the classes that read and write it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

from rlbuffers.errors import BufferNotFoundError, FormatError, UsageError
from rlbuffers.local_inputs import refuse_special
from rlbuffers.paths import Url, refuse_address
from rlbuffers.stores.base import StoreReader, StoreWriter

__all__ = [
    "FORMATS",
    "HDF5_SIGNATURE",
    "MEMORY_PREFIX",
    "ZIP_SIGNATURE",
    "format_of",
    "is_in_memory",
    "named_format",
    "open_store",
    "writer_class",
]

MEMORY_PREFIX = "memory:"
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
ZIP_SIGNATURE = b"PK\x03\x04"


@dataclass(frozen=True)
class Backend:
    """Where a backend's classes are and how its files are named."""

    module: str
    reader: str
    writer: str
    suffix: str


FORMATS = {
    "hdf5": Backend("rlbuffers.stores.hdf5_store", "HDF5Reader", "HDF5Writer", ".hdf5"),
    "zarr": Backend("rlbuffers.stores.zarr_store", "ZarrReader", "ZarrWriter", ".zarr"),
    "zip": Backend("rlbuffers.stores.zarr_store", "ZarrZipReader", "ZarrZipWriter", ".zarr.zip"),
    "memory": Backend("rlbuffers.stores.memory_store", "MemoryReader", "MemoryWriter", ""),
}
_SUFFIXES = {".hdf5": "hdf5", ".h5": "hdf5", ".zarr": "zarr", ".zarr.zip": "zip"}


def format_of(path: Path | Url) -> str:
    """Tell the format of a buffer to be written from its path.

    Raises
    ------
    UsageError
        If the name ends in nothing known.
    """
    if is_in_memory(path):
        return "memory"
    refuse_address(path)
    found = named_format(path)
    if found is None:
        raise UsageError(f"{path}: the name must end in .hdf5, .zarr or .zarr.zip, or begin with 'memory:'")
    return found


def is_in_memory(path: Path | Url) -> bool:
    """Whether a path is the name of a buffer in this process's memory; ``memory://`` is a file system of fsspec's."""
    return isinstance(path, Path) and str(path).startswith(MEMORY_PREFIX)


def named_format(path: Path | Url) -> str | None:
    """Tell the format that the end of a name stands for; None for other names."""
    return next((name for suffix, name in _SUFFIXES.items() if path.name.endswith(suffix)), None)


def writer_class(format_name: str) -> type[StoreWriter]:
    """Return the writer of a format; its constructor takes the path to write."""
    backend = FORMATS[format_name]
    found: type[StoreWriter] = getattr(importlib.import_module(backend.module), backend.writer)
    return found


def open_store(path: Path | Url) -> StoreReader:
    """Open a finished buffer with the backend that its content asks for, or at an address its name.

    Raises
    ------
    BufferNotFoundError
        If nothing is there.
    FormatError
        If what is there is no buffer.
    """
    name = _remote_format(path) if isinstance(path, Url) else _local_format(path)
    backend = FORMATS[name]
    reader: type[StoreReader] = getattr(importlib.import_module(backend.module), backend.reader)
    return reader.open(path)


def _local_format(path: Path) -> str:
    if is_in_memory(path):
        return "memory"
    if not path.exists():
        raise BufferNotFoundError(f"{path}: there is no such file; `rlbuffers convert` or `generate` makes buffers")
    if path.is_dir():
        if not (path / "zarr.json").exists():
            raise FormatError(f"{path}: expected a Zarr v3 buffer, found a directory without zarr.json")
        return "zarr"
    with refuse_special(path).open("rb") as file:
        return "zip" if file.read(len(ZIP_SIGNATURE)) == ZIP_SIGNATURE else "hdf5"


def _remote_format(url: Url) -> str:
    found = named_format(Url(url.rstrip("/")))
    if found is None:
        raise UsageError(f"{url}: the address of a buffer ends in .hdf5, .zarr or .zarr.zip")
    return found
