"""HDF5 buffers: gzip chunks that any HDF5 reader opens, decoded from the mapped file by ours.

h5py is asked once where each chunk's bytes are; random reads then never enter the HDF5 library.
Stacked and next observations also stand in the file as virtual datasets under the D4RL names, so
that ``h5py.File(path)["observations"][i]`` works although nothing is stored twice.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rlbuffers.errors import CorruptDataError, FormatError, RlbuffersError
from rlbuffers.stores.base import ChunkTable, StoredArray, StoreReader, StoreWriter, View
from rlbuffers.stores.codecs import Codec, ZlibCodec
from rlbuffers.stores.hdf5_views import LIBRARY_VERSIONS, add_views, check_views, protect_views

__all__ = ["HDF5Reader", "HDF5Writer", "plain_disk_errors"]

_ATTRIBUTE = "rlbuffers"
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MAX_CHUNK_BYTES = 1 << 30
_ERRNO = re.compile(r"errno = (\d+)")


class HDF5Writer(StoreWriter):
    """Writes chunks past HDF5's own filter pipeline, which would encode them a second time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = h5py.File(path, "w", libver=LIBRARY_VERSIONS, locking=False)
        self._num_chunks: dict[str, int] = {}

    def create_array(self, name: str, dtype: np.dtype[Any], row_shape: tuple[int, ...], chunk_rows: int) -> Codec:
        """See base class."""
        self._file.create_dataset(
            name,
            shape=(0, *row_shape),
            maxshape=(None, *row_shape),
            chunks=(chunk_rows, *row_shape),
            dtype=dtype.newbyteorder("<"),
            shuffle=dtype.itemsize > 1,
            compression="gzip",
            compression_opts=1,
        )
        self._num_chunks[name] = 0
        return ZlibCodec(shuffle_bytes=dtype.itemsize)

    def write_chunks(self, name: str, chunks: Sequence[bytes]) -> None:
        """See base class."""
        with plain_disk_errors(self._path):
            dataset = self._file[name]
            chunk_rows = dataset.chunks[0]
            first = self._num_chunks[name]
            self._num_chunks[name] += len(chunks)
            dataset.resize(self._num_chunks[name] * chunk_rows, axis=0)
            rest = (0,) * (dataset.ndim - 1)
            for index, chunk in enumerate(chunks, first):
                dataset.id.write_direct_chunk((index * chunk_rows, *rest), chunk)

    def finish(self, lengths: Mapping[str, int], metadata: str, views: Sequence[View]) -> None:
        """See base class."""
        with plain_disk_errors(self._path):
            for name, length in lengths.items():
                self._file[name].resize(length, axis=0)
            add_views(self._file, views)
            encoded = metadata.encode()
            self._file.attrs.create(_ATTRIBUTE, encoded, dtype=h5py.string_dtype("utf-8", len(encoded)))
            self._file.close()
            if views:
                protect_views(self._path)

    def abort(self) -> None:
        """See base class."""
        # Closing writes what is pending, which fails again on a full disk; it is thrown away in any case.
        with suppress(OSError, RuntimeError):
            if self._file:
                self._file.close()


@contextmanager
def plain_disk_errors(path: Path) -> Iterator[None]:
    """Turn HDF5's account of a full disk, a paragraph of either of two types, into an ordinary OSError."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        code = _ERRNO.search(str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from error


class HDF5Reader(StoreReader):
    """Reads the chunk index through h5py and everything else from the mapped file.

    No HDF5 handle stays open, so readers survive a fork.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            if file.read(len(_SIGNATURE)) != _SIGNATURE:
                raise FormatError(f"{path}: not an HDF5 file (its first bytes are not HDF5's signature)")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        with self._opened() as hdf5:
            if _ATTRIBUTE not in hdf5.attrs:
                raise FormatError(f"{path}: an HDF5 file, but not an rlbuffers buffer; `rlbuffers convert` makes one")
            self.metadata = _text(hdf5.attrs[_ATTRIBUTE])
            check_views(hdf5, self._map, path)
            self.arrays = _stored_arrays(hdf5, path)

    @classmethod
    def open(cls, path: Path) -> HDF5Reader:
        """See base class."""
        return cls(path)

    @contextmanager
    def _opened(self) -> Iterator[h5py.File]:
        """Open with h5py and translate whatever it raises on a damaged file."""
        try:
            with _open_file(self._path) as hdf5:
                yield hdf5
        except RlbuffersError:
            raise
        except (OSError, RuntimeError, LookupError, ArithmeticError, ValueError, TypeError, AttributeError) as error:
            reason = str(error).strip("'\"").splitlines()[0] if str(error) else repr(error)
            raise CorruptDataError(f"{self._path}: damaged; the HDF5 library says: {reason}") from error

    def chunk_table(self, name: str) -> ChunkTable:
        """See base class."""
        array = self.arrays[name]
        offsets = np.full(array.num_chunks, -1, dtype=np.int64)
        sizes = np.zeros(array.num_chunks, dtype=np.int64)

        def note(chunk: Any) -> None:
            index = chunk.chunk_offset[0] // array.chunk_rows
            if index < array.num_chunks and chunk.filter_mask == 0:
                offsets[index] = chunk.byte_offset
                sizes[index] = chunk.size

        with self._opened() as hdf5:
            hdf5[name].id.chunk_iter(note)
        outside = (offsets < 0) | (offsets + sizes > len(self._map))
        if outside.any():
            raise CorruptDataError(f"{self._path}: array {name!r}: chunk {int(outside.argmax())} is missing")
        return ChunkTable(
            regions=[memoryview(self._map)],
            region_of=np.zeros(array.num_chunks, dtype=np.int64),
            offsets=offsets,
            sizes=sizes,
            region_names=[str(self._path)],
        )

    def read_view(self, name: str, rows: Sequence[int]) -> np.ndarray[Any, Any] | None:
        """See base class."""
        with self._opened() as hdf5:
            view = hdf5[name]
            found: np.ndarray[Any, Any] = np.stack([view[row] for row in rows])
            return found

    def disk_bytes(self) -> int:
        """See base class."""
        return self._path.stat().st_size

    def close(self) -> None:
        """See base class; chunk tables that are still in use keep the map alive."""
        try:
            self._map.close()
        except BufferError:
            return


def _open_file(path: Path) -> h5py.File:
    """Open for reading as plain h5py does, so that a file can be open in both ways at once."""
    try:
        return h5py.File(path, "r")
    except OSError as error:
        # Some file systems know no locks, and whoever has the file open without them forbids them to others.
        if "lock" not in str(error):
            raise
        return h5py.File(path, "r", locking=False)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _stored_arrays(hdf5: h5py.File, path: Path) -> dict[str, StoredArray]:
    arrays: dict[str, StoredArray] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not item.is_virtual:
            if item.chunks is None or item.compression != "gzip" or item.chunks[1:] != item.shape[1:]:
                raise FormatError(f"{path}: array {name!r} is not stored as gzip chunks of whole rows")
            codec = ZlibCodec(shuffle_bytes=item.dtype.itemsize if item.shuffle else 1)
            arrays[name] = StoredArray(name, item.dtype, item.shape, item.chunks[0], codec)
            if arrays[name].chunk_bytes > _MAX_CHUNK_BYTES:
                raise FormatError(f"{path}: array {name!r} has chunks of {arrays[name].chunk_bytes} bytes; too large")

    hdf5.visititems(note)
    return arrays
