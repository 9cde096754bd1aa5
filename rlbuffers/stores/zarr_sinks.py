"""Where a Zarr buffer's files are written: into a directory, or one after the other into a ZIP file."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

__all__ = ["FolderSink", "Sink", "ZipSink"]

# Local header without the name; members larger than 4 GiB have an extra field, shards are far smaller.
_HEADER_BYTES = 30


class Sink(Protocol):
    """Takes files, several at a time, each from its beginning to its end.

    Attributes
    ----------
    holds_back : bool
        Whether a file is written only when it is complete.
    """

    holds_back: bool

    def append(self, name: str, parts: Sequence[bytes]) -> None:
        """Begin a file, or go on with it."""

    def complete(self, name: str) -> int:
        """Say that a file is whole; return where its bytes begin in the file of the system that holds them."""

    def close(self) -> None:
        """Finish."""

    def abort(self) -> None:
        """Give up; the caller removes what is there."""


class FolderSink:
    """A directory: what is appended is in its file at once."""

    holds_back = False

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self._path = path

    def append(self, name: str, parts: Sequence[bytes]) -> None:
        """See `Sink`."""
        path = self._path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.writelines(parts)

    def complete(self, name: str) -> int:
        """See `Sink`."""
        return 0

    def close(self) -> None:
        """See `Sink`."""

    def abort(self) -> None:
        """See `Sink`."""


class ZipSink:
    """A ZIP file whose members are stored as they are, so that parts of them can be read.

    Members stand one after the other, so those that grow wait in memory until they are whole.
    """

    holds_back = True

    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path, "x", zipfile.ZIP_STORED)
        self._growing: dict[str, list[bytes]] = {}

    def append(self, name: str, parts: Sequence[bytes]) -> None:
        """See `Sink`."""
        self._growing.setdefault(name, []).extend(parts)

    def complete(self, name: str) -> int:
        """See `Sink`."""
        member = zipfile.ZipInfo(name)  # dated 1980: the same content makes the same file
        self._archive.writestr(member, b"".join(self._growing.pop(name)))
        return member.header_offset + _HEADER_BYTES + len(name.encode())

    def close(self) -> None:
        """See `Sink`."""
        self._archive.close()

    def abort(self) -> None:
        """See `Sink`."""
        # Closing writes the directory, which fails again on a full disk; it is thrown away in any case.
        with suppress(OSError, ValueError):
            self._archive.close()
