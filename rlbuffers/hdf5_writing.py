"""Writing HDF5 to a disk that may fail.

If a write fails, the HDF5 library keeps what it could not write, tries again whenever something is closed, prints pages
of errors that no caller can catch, and may crash. So it never sees one: the first error is kept, what it writes from
then on goes nowhere, and the error is raised where Python can handle it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py

__all__ = ["FailingDisk", "written_hdf5"]

# What is longer than metadata is not read again.
_KEPT_BYTES = 1 << 16
_PAGE_BYTES = 1 << 12


class FailingDisk(io.RawIOBase):
    """A file for h5py, whose writes never fail.

    Parameters
    ----------
    path : Path
        The file.
    mode : {"w", "r+"}
        As of `h5py.File`.
    """

    def __init__(self, path: Path, mode: str) -> None:
        self._path = path
        self._error: OSError | None = None
        self._lost: dict[int, bytearray] = {}  # pages of short writes after the first that failed
        self._place = 0
        created = os.O_CREAT | os.O_TRUNC if mode == "w" else 0
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | created, 0o666)
        self._end = os.fstat(self._descriptor).st_size

    def require(self) -> None:
        """Raise what went wrong so far.

        Raises
        ------
        OSError
            With the file's name, if a write failed.
        """
        if self._error is not None:
            raise OSError(self._error.errno, os.strerror(self._error.errno or 0), str(self._path)) from self._error

    def close(self) -> None:
        """Close the file; an error is kept, too."""
        if not self.closed:
            super().close()
            self._attempt(lambda: os.close(self._descriptor))

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def writable(self) -> bool:
        """Whether it can be written: yes."""
        return True

    def seekable(self) -> bool:
        """Whether it has places: yes."""
        return True

    def tell(self) -> int:
        """Return the place."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._end}[whence]
        return self._place

    def readinto(self, target: Any) -> int:
        """Read into a buffer; see base class."""
        view = memoryview(target).cast("B")
        view[:] = os.pread(self._descriptor, len(view), self._place).ljust(len(view), b"\0")
        if self._lost:
            for page, inside, part in _pages(self._place, len(view)):
                if page in self._lost:
                    view[part] = self._lost[page][inside]
        self._place += len(view)
        return len(view)

    def write(self, content: Any) -> int:
        """Write all of it, or keep why that failed."""
        view = memoryview(content).cast("B")
        self._attempt(lambda: self._write_all(view))
        if self._error is not None and len(view) <= _KEPT_BYTES:
            self._keep(view)
        self._place += len(view)
        self._end = max(self._end, self._place)
        return len(view)

    def _keep(self, view: memoryview) -> None:
        """Keep what could not be written, for the library may read it again."""
        for page, inside, part in _pages(self._place, len(view)):
            if page not in self._lost:
                found = b""
                with suppress(OSError):
                    found = os.pread(self._descriptor, _PAGE_BYTES, page * _PAGE_BYTES)
                self._lost[page] = bytearray(found.ljust(_PAGE_BYTES, b"\0"))
            self._lost[page][inside] = view[part]

    def _write_all(self, view: memoryview) -> None:
        done = 0
        while done < len(view):
            done += os.pwrite(self._descriptor, view[done:], self._place + done)

    def truncate(self, size: int | None = None) -> int:
        """Cut or extend the file."""
        end = self._place if size is None else size
        self._attempt(lambda: os.ftruncate(self._descriptor, end))
        self._end = end
        return end

    def _attempt(self, call: Callable[[], None]) -> None:
        if self._error is None:
            try:
                call()
            except OSError as error:
                self._error = error


def _pages(place: int, size: int) -> Iterator[tuple[int, slice, slice]]:
    """Yield the pages of a stretch of a file: the number of each, what of the page it is, and what of the stretch."""
    end = place + size
    for page in range(place // _PAGE_BYTES, -(-end // _PAGE_BYTES)):
        begin = page * _PAGE_BYTES
        start, stop = max(place, begin), min(end, begin + _PAGE_BYTES)
        yield page, slice(start - begin, stop - begin), slice(start - place, stop - place)


@contextmanager
def written_hdf5(
    path: Path, on_progress: Callable[[int], None] = lambda done: None, mode: str = "w", **options: Any
) -> Iterator[tuple[h5py.File, Callable[[int], None]]]:
    """Open an HDF5 file for writing.

    Parameters
    ----------
    path : Path
        The file.
    on_progress : callable, optional
        Is given an amount done.
    mode : {"w", "r+"}
        As of `h5py.File`.
    **options
        Of `h5py.File`.

    Yields
    ------
    file : h5py.File
        The open file.
    on_progress : callable
        To be called instead; raises OSError if a write failed.

    Raises
    ------
    OSError
        With the file's name, if something could not be written.
    """
    with FailingDisk(path, mode) as disk:

        def tell(done: int) -> None:
            disk.require()
            on_progress(done)

        try:
            with h5py.File(disk, mode, **options) as file:
                yield file, tell
        finally:  # what the library raised meanwhile came of it
            disk.require()
    disk.require()
