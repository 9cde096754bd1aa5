"""HDF5 buffers: gzip chunks that any HDF5 reader opens, read past the library by ours.

Where each chunk's bytes are stands in a table of the file (``hdf5_chunk_tables.py``), or h5py is asked once;
random reads then never enter the HDF5 library.
Stacked and next observations also stand in the file as virtual datasets under the D4RL names, so
that ``h5py.File(path)["observations"][i]`` works although nothing is stored twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from rlbuffers.errors import CorruptDataError, FormatError, RlbuffersError, SpecError
from rlbuffers.hdf5_errors import HDF5_ERRORS, reason_of
from rlbuffers.hdf5_links import SUPERBLOCK_BYTES, refuse_what_is_outside, require_closed
from rlbuffers.hdf5_writing import FailingDisk
from rlbuffers.local_inputs import MAX_DOCUMENT_BYTES, raise_shortage
from rlbuffers.paths import Url
from rlbuffers.stores import HDF5_SIGNATURE
from rlbuffers.stores.base import StoredArray, StoreReader, StoreWriter, View
from rlbuffers.stores.chunk_table import Array, ChunkFiles, ChunkTable
from rlbuffers.stores.codecs import Codec, ZlibCodec, image_bytes_of
from rlbuffers.stores.folders import ByteFile
from rlbuffers.stores.hdf5_chunk_tables import (
    CHUNKS_PER_PIECE,
    GROUP,
    StoredTable,
    find_tables,
    is_stale,
    library_table,
    write_tables,
)
from rlbuffers.stores.hdf5_views import LIBRARY_VERSIONS, add_views, check_views, protect_views
from rlbuffers.stores.local_files import LocalFiles, OpenFile

if TYPE_CHECKING:
    from rlbuffers.stores.remote import RemoteFile

__all__ = ["HDF5Reader", "HDF5Writer"]

_ATTRIBUTE = "rlbuffers"
_MAX_CHUNK_BYTES = 1 << 30
# The shortest zlib stream; where it is stands in the file as well.
_MIN_STORED_BYTES = 8


class HDF5Writer(StoreWriter):
    """Writes chunks past HDF5's own filter pipeline, which would encode them a second time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Without management of free space each chunk is put at the end of the file, so that its place is known.
        self._disk = FailingDisk(path, "w")
        self._file = h5py.File(self._disk, "w", libver=LIBRARY_VERSIONS, fs_strategy="none")
        self._places: dict[str, tuple[list[int], list[int]]] = {}

    def create_array(self, name: str, dtype: np.dtype[Any], row_shape: tuple[int, ...], chunk_rows: int) -> Codec:
        """See base class."""
        if name.partition("/")[0] == GROUP:
            raise SpecError(f"{self._path}: HDF5 buffers keep their own tables under {GROUP!r}; rename {name!r}")
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
        self._places[name] = ([], [])
        return ZlibCodec(shuffle_bytes=dtype.itemsize, image_bytes=image_bytes_of(dtype, row_shape))

    def write_chunks(self, name: str, chunks: Sequence[bytes]) -> None:
        """See base class."""
        dataset = self._file[name]
        chunk_rows = dataset.chunks[0]
        offsets, sizes = self._places[name]
        first = len(offsets)
        dataset.resize((first + len(chunks)) * chunk_rows, axis=0)
        rest = (0,) * (dataset.ndim - 1)
        end_of_file = self._file.id.get_filesize
        for index, chunk in enumerate(chunks, first):
            offsets.append(end_of_file())
            sizes.append(len(chunk))
            dataset.id.write_direct_chunk((index * chunk_rows, *rest), chunk)
        self._disk.require()
        if not first and offsets:
            offsets[0] = _first_offset(dataset)  # its index is made with the first chunk, and may come before it

    def written(self, name: str) -> tuple[Array, Array]:
        """See base class."""
        offsets, sizes = self._places[name]
        return np.array(offsets, np.int64), np.array(sizes, np.int64)

    def finish(self, lengths: Mapping[str, int], metadata: str, views: Sequence[View]) -> None:
        """See base class."""
        for name, length in lengths.items():
            self._file[name].resize(length, axis=0)
        write_tables(self._file, {name: len(offsets) for name, (offsets, _) in self._places.items()})
        add_views(self._file, views)
        encoded = metadata.encode()
        self._file.attrs.create(_ATTRIBUTE, encoded, dtype=h5py.string_dtype("utf-8", len(encoded)))
        self._close()
        self._disk.require()
        if views:
            protect_views(self._path)

    def _close(self) -> None:
        if self._file:
            self._file.close()
        self._disk.close()

    def abort(self) -> None:
        """See base class."""
        with suppress(OSError, RuntimeError):  # it is thrown away in any case
            self._close()


class HDF5Reader(StoreReader):
    """Reads metadata through h5py and chunks past it.

    No HDF5 handle stays open, so readers survive a fork.
    """

    def __init__(self, path: Path | Url) -> None:
        self._path = path
        self._file: ByteFile
        self._files: ChunkFiles
        self._remote: RemoteFile | None = None
        if isinstance(path, Url):
            from rlbuffers.stores.remote import RemoteFile

            self._file = self._remote = RemoteFile(path)
            self._files = self._remote.as_files()
        else:
            self._file, self._files = OpenFile(path), LocalFiles([path])
        if self._file.size < len(HDF5_SIGNATURE) or self._file.read(0, len(HDF5_SIGNATURE)) != HDF5_SIGNATURE:
            raise FormatError(f"{path}: not an HDF5 file (its first bytes are not HDF5's signature)")
        require_closed(self._file.read(0, min(self._file.size, SUPERBLOCK_BYTES)), path)
        with self._opened() as hdf5:
            if _ATTRIBUTE not in hdf5.attrs:
                raise FormatError(f"{path}: an HDF5 file, but not an rlbuffers buffer; `rlbuffers convert` makes one")
            self.metadata = _text(hdf5, path)
            check_views(hdf5, self._file)
            refuse_what_is_outside(hdf5, path, is_source=False)
            self.arrays = _stored_arrays(hdf5, path, self._file.size)
            self._tables = find_tables(hdf5)

    @classmethod
    def open(cls, path: Path | Url) -> HDF5Reader:
        """See base class."""
        return cls(path)

    @contextmanager
    def _opened(self) -> Iterator[h5py.File]:
        """Open with h5py and translate whatever it raises on a damaged file."""
        try:
            with self._open_file() as hdf5:
                yield hdf5
        except RlbuffersError:
            raise
        except HDF5_ERRORS as error:
            raise_shortage(error, self._path)
            raise CorruptDataError(f"{self._path}: damaged; the HDF5 library says: {reason_of(error)}") from error

    def _open_file(self) -> h5py.File:
        """Open for reading as plain h5py does, so that a file can be open in both ways at once."""
        if self._remote is not None:
            return h5py.File(self._remote.opened(), "r")
        try:
            return h5py.File(self._path, "r")
        except OSError as error:
            # Some file systems know no locks, and whoever has the file open without them forbids them to others.
            if "lock" not in str(error):
                raise
            return h5py.File(self._path, "r", locking=False)

    def chunk_table(self, name: str) -> ChunkTable:
        """See base class."""
        count = self.arrays[name].num_chunks
        files = self._files
        stored = self._tables.get(name)
        if stored is None or self._is_stale(stored, name):
            return ChunkTable(name, count, files, lambda _: self._library_table(name))
        return ChunkTable(name, count, files, partial(self._piece, stored, name), CHUNKS_PER_PIECE)

    def _is_stale(self, stored: StoredTable, name: str) -> bool:
        with self._opened() as hdf5:
            return is_stale(stored, self._file, hdf5[name], self.arrays[name].num_chunks)

    def _piece(self, stored: StoredTable, name: str, number: int) -> tuple[Array, Array]:
        """Read a piece of a table; of a damaged one, which `validate` reports, the library knows the chunks as well."""
        try:
            return stored.piece(self._file, number)
        except CorruptDataError:
            piece = slice(number * CHUNKS_PER_PIECE, (number + 1) * CHUNKS_PER_PIECE)
            offsets, sizes = self._library_table(name)
            return offsets[piece], sizes[piece]

    def _library_table(self, name: str) -> tuple[Array, Array]:
        with self._opened() as hdf5:
            return library_table(hdf5[name], self.arrays[name].num_chunks)

    def stored_bytes(self, name: str) -> int:
        """See base class; all arrays are in one file."""
        return self._file.size

    def problems(self) -> Iterator[str]:
        """See base class: the tables in the file say what the library says."""
        for name, stored in self._tables.items():
            problem = self._problem_of(name, stored)
            if problem:
                yield problem

    def _problem_of(self, name: str, stored: StoredTable) -> str | None:
        if name not in self.arrays or stored.num_chunks != self.arrays[name].num_chunks:
            return f"the table of chunks of {name!r} has another length than the array"
        offsets, sizes = self._library_table(name)
        start = 0
        for found in stored.pieces(self._file):
            stop = start + len(found[0])
            wrong = (found[0] != offsets[start:stop]) | (found[1] != sizes[start:stop])
            if wrong.any():
                return f"chunk {start + int(wrong.argmax())} of {name!r} is not where the table of chunks says"
            start = stop
        return None

    def read_view(self, name: str, rows: Sequence[int]) -> np.ndarray[Any, Any] | None:
        """See base class."""
        with self._opened() as hdf5:
            view = hdf5[name]
            found: np.ndarray[Any, Any] = np.stack([view[row] for row in rows])
            return found

    def disk_bytes(self) -> int:
        """See base class."""
        return self._file.size

    def close(self) -> None:
        """See base class; the file is closed when the last chunk table is dropped."""


def _first_offset(dataset: h5py.Dataset) -> int:
    found: list[int] = []

    def note(chunk: Any) -> bool:
        found.append(chunk.byte_offset)
        return True  # which ends the walk

    dataset.id.chunk_iter(note)
    return found[0]


def _text(hdf5: h5py.File, path: Path | Url) -> str:
    """Return the metadata; what the attribute claims is looked at before it is read."""
    attribute = hdf5.attrs.get_id(_ATTRIBUTE)
    size = attribute.get_storage_size()
    if attribute.shape != () or attribute.dtype.kind not in "SO" or size > MAX_DOCUMENT_BYTES:
        raise FormatError(f"{path}: expected the metadata as a text of at most {MAX_DOCUMENT_BYTES:,} bytes")
    value = hdf5.attrs[_ATTRIBUTE]
    return value.decode() if isinstance(value, bytes) else str(value)


def _stored_arrays(hdf5: h5py.File, path: Path | Url, file_bytes: int) -> dict[str, StoredArray]:
    arrays: dict[str, StoredArray] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not item.is_virtual and name.partition("/")[0] != GROUP:
            if item.chunks is None or item.compression != "gzip" or item.chunks[1:] != item.shape[1:]:
                raise FormatError(f"{path}: array {name!r} is not stored as gzip chunks of whole rows")
            codec = ZlibCodec(shuffle_bytes=item.dtype.itemsize if item.shuffle else 1)
            arrays[name] = StoredArray(name, item.dtype, item.shape, item.chunks[0], codec)
            if arrays[name].chunk_bytes > _MAX_CHUNK_BYTES:
                raise FormatError(f"{path}: array {name!r} has chunks of {arrays[name].chunk_bytes} bytes; too large")
            if arrays[name].num_chunks > file_bytes // _MIN_STORED_BYTES:
                raise CorruptDataError(
                    f"{path}: array {name!r} claims {arrays[name].num_chunks:,} chunks, more than a file of "
                    f"{file_bytes:,} bytes can hold; it is damaged"
                )

    hdf5.visititems(note)
    return arrays
