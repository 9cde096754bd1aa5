"""The storage backends: a table from format name to the classes that read and write it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

from rlbuffers.errors import BufferNotFoundError, FormatError, UsageError
from rlbuffers.stores.base import StoreReader, StoreWriter

__all__ = ["FORMATS", "MEMORY_PREFIX", "format_of", "open_store", "writer_class"]

MEMORY_PREFIX = "memory:"


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
    "memory": Backend("rlbuffers.stores.memory_store", "MemoryReader", "MemoryWriter", ""),
}
_SUFFIXES = {".hdf5": "hdf5", ".h5": "hdf5", ".zarr": "zarr"}


def format_of(path: Path) -> str:
    """Tell the format of a buffer to be written from its path.

    Raises
    ------
    UsageError
        If the name ends in nothing known.
    """
    if str(path).startswith(MEMORY_PREFIX):
        return "memory"
    try:
        return _SUFFIXES[path.suffix]
    except KeyError:
        raise UsageError(f"{path}: the name must end in .hdf5 or .zarr, or begin with 'memory:'") from None


def writer_class(format_name: str) -> type[StoreWriter]:
    """Return the writer of a format; its constructor takes the path to write."""
    backend = FORMATS[format_name]
    found: type[StoreWriter] = getattr(importlib.import_module(backend.module), backend.writer)
    return found


def open_store(path: Path) -> StoreReader:
    """Open a finished buffer with the backend that its content asks for.

    Raises
    ------
    BufferNotFoundError
        If nothing is there.
    FormatError
        If what is there is no buffer.
    """
    if str(path).startswith(MEMORY_PREFIX):
        name = "memory"
    elif not path.exists():
        raise BufferNotFoundError(f"{path}: there is no such file; `rlbuffers convert` or `generate` makes buffers")
    elif path.is_dir():
        if not (path / "zarr.json").exists():
            raise FormatError(f"{path}: expected a Zarr v3 buffer, found a directory without zarr.json")
        name = "zarr"
    else:
        name = "hdf5"
    backend = FORMATS[name]
    reader: type[StoreReader] = getattr(importlib.import_module(backend.module), backend.reader)
    return reader.open(path)
