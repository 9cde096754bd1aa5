"""What is read from a local path: ordinary files of a sane size, and nothing outside the folder that was named.

A named pipe or a device in place of a file makes a reader wait for ever or read without end, and a link out of a
folder, or out of an HDF5 file (`rlbuffers.hdf5_links`), puts other people's content into a buffer. So the kind of a
file is looked at before it is opened, and links that lead outside are refused unless the user allows them.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError

__all__ = [
    "MAX_DOCUMENT_BYTES",
    "check_folder",
    "followed_links",
    "follows_links",
    "kind_of_file",
    "raise_shortage",
    "read_document",
    "refuse_special",
    "require_inside",
    "require_regular",
]

# The longest documents, lists of a million episodes, are a tenth of this.
MAX_DOCUMENT_BYTES = 256 << 20
_FILE = "a file"
_KINDS = (
    (stat.S_ISREG, _FILE),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)
# The Hugging Face hub's cache: files of snapshots/REVISION/ are links to blobs/ beside it.
_SNAPSHOTS = "snapshots"
_NOTHING_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_follows: ContextVar[bool] = ContextVar("follows_links", default=False)


@contextmanager
def followed_links(follow: bool = True) -> Iterator[None]:
    """Let sources that are opened and read in the block follow links out of the files and folders that they are given.

    Parameters
    ----------
    follow : bool, default True
        False refuses them, as is usual.
    """
    before = _follows.set(follow)
    try:
        yield
    finally:
        _follows.reset(before)


def follows_links() -> bool:
    """Whether links that lead outside are followed; see `followed_links`."""
    return _follows.get()


def kind_of_file(path: Path) -> str | None:
    """Say what stands under a path, without opening it: "a file", "a directory", "a named pipe", ...; None: nothing."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno not in _NOTHING_THERE:
            raise
        return None
    return next((kind for is_kind, kind in _KINDS if is_kind(mode)), "something else")


def raise_shortage(error: BaseException, where: object) -> None:
    """Raise an error again that says nothing of a file: too many are open, or there is no memory.

    Raises
    ------
    OSError
        If it is one, with `where` as the file's name.
    """
    if isinstance(error, OSError) and error.errno in _SHORTAGES:
        raise OSError(error.errno, os.strerror(error.errno), str(where)) from error


def refuse_special(path: Path) -> Path:
    """Return `path` unless something other than an ordinary file is there.

    Raises
    ------
    FormatError
        If it is something else, such as a named pipe, a device or a directory.
    """
    kind = kind_of_file(path)
    if kind not in (None, _FILE):
        raise FormatError(f"{path}: expected a file, found {kind}")
    return path


def require_regular(path: Path) -> Path:
    """Return `path` if an ordinary file is there.

    Raises
    ------
    BufferNotFoundError
        If nothing is there, or a link that leads nowhere.
    FormatError
        See `refuse_special`.
    """
    if kind_of_file(path) is None:
        raise BufferNotFoundError(f"{path}: there is no such file")
    return refuse_special(path)


def read_document(path: Path) -> bytes:
    """Return the content of a short file, such as metadata.

    Raises
    ------
    OSError
        If it is not there, or cannot be read.
    FormatError
        See `refuse_special`.
    CorruptDataError
        If it is longer than `MAX_DOCUMENT_BYTES`.
    """
    size = refuse_special(path).stat().st_size
    if size > MAX_DOCUMENT_BYTES:
        raise CorruptDataError(
            f"{path}: expected a document of at most {MAX_DOCUMENT_BYTES:,} bytes, found {size:,} bytes"
        )
    return path.read_bytes()


def require_inside(folder: Path, path: Path, *, is_source: bool = True) -> Path:
    """Return `path` unless a symbolic link in `folder` leads from it to a place outside the folder.

    The folder itself may be a link. Links of the Hugging Face hub's cache, which lead from ``snapshots`` to ``blobs``
    beside it, count as inside.

    Parameters
    ----------
    folder : Path
        What the user named.
    path : Path
        A place in it.
    is_source : bool, default True
        Whether it is read by `rlbuffers convert`, which has an option to follow links; only then are they followed.

    Raises
    ------
    FormatError
        If it leads outside, and links are not followed (`followed_links`).
    """
    if is_source and follows_links():
        return path
    root, target = Path(os.path.realpath(folder)), Path(os.path.realpath(path))
    parts = root.parts
    if _SNAPSHOTS in parts:
        root = Path(*parts[: parts.index(_SNAPSHOTS)])
    if root != target and root not in target.parents:
        option = "pass --follow-links, or " if is_source else ""
        raise FormatError(
            f"{path}: a symbolic link to {target}, which is outside of {folder}; it is not followed. If you trust it, "
            f"{option}copy the content to where the link is"
        )
    return path


def check_folder(folder: Path) -> Path:
    """Return `folder` if all in it is ordinary files, folders, and links to such that stay inside.

    For folders that a library reads, which opens what it finds.

    Raises
    ------
    FormatError
        If there is something else in it; see `refuse_special` and `require_inside`.
    """
    for inner, _, _ in os.walk(folder):
        with os.scandir(inner) as entries:
            for entry in entries:
                if entry.is_symlink():
                    require_inside(folder, Path(entry.path))
                if not (entry.is_dir() or entry.is_file()):
                    refuse_special(Path(entry.path))
    return folder
