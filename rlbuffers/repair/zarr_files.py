"""The files of a damaged Zarr buffer by name: in a directory, or in a ZIP file that may have lost its directory."""

from __future__ import annotations

import mmap
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from rlbuffers.errors import CorruptDataError
from rlbuffers.local_inputs import MAX_DOCUMENT_BYTES, read_document, refuse_special, require_inside
from rlbuffers.stores.folders import MAX_DIRECTORY_BYTES

__all__ = ["FolderFiles", "ZarrFiles", "ZipFiles", "mapped"]

# APPNOTE.TXT 6.3.10, section 4.3.7: signature, 14 bytes, size as stored, size, lengths of the name and of what follows.
_LOCAL_HEADER = struct.Struct("<4s14xIIHH")
_LOCAL, _DIRECTORY, _ANY = b"PK\x03\x04", b"PK\x01\x02", b"PK"
# Names of a buffer's files; other bytes that look like a header by accident do not have one.
_NAME = re.compile(rb"(?:[^\0/]+/)*(?:zarr\.json|c(?:/[0-9]+)+)")
_MOST_MEMBERS = 1 << 17
_Place = tuple[int, int]


class ZarrFiles(Protocol):
    """Files by names such as ``frames/c/0/0/0``."""

    def content(self, name: str) -> memoryview:
        """Return a file's bytes.

        Raises
        ------
        OSError, ValueError
            If it is missing, empty or not an ordinary file.
        """

    def document(self, name: str) -> bytes:
        """Return the bytes of a short file; see `content`."""


class FolderFiles:
    """The files of a directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def content(self, name: str) -> memoryview:
        """See `ZarrFiles`."""
        return mapped(self._inside(name))

    def document(self, name: str) -> bytes:
        """See `ZarrFiles`."""
        return read_document(self._inside(name))

    def _inside(self, name: str) -> Path:
        return require_inside(self._root, self._root / name, is_source=False)


class ZipFiles:
    """The members of a ZIP file, found by the headers before them, and by the file's directory if it can be read.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read or is empty.
    CorruptDataError
        If it has more members than a buffer has.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        opened = _opened(path)
        self._whole = memoryview(opened)
        self._scanned = dict(_scanned(opened, path))
        self._listed = _listed(path)

    def content(self, name: str) -> memoryview:
        """See `ZarrFiles`; where headers and directory disagree, the checksum of the directory decides."""
        scanned = self._at(self._scanned.get(name))
        if name in self._listed:
            place, crc = self._listed[name]
            listed = self._at(place)
            if listed and (not scanned or (len(listed) != len(scanned) and zlib.crc32(listed) == crc)):
                return listed
        if not scanned:
            raise FileNotFoundError(f"{self._path}/{name}: is missing or empty")
        return scanned

    def _at(self, place: _Place | None) -> memoryview:
        start, stop = place or (0, 0)
        return self._whole[start:stop] if 0 <= start < stop <= len(self._whole) else self._whole[:0]

    def document(self, name: str) -> bytes:
        """See `ZarrFiles`."""
        content = self.content(name)
        if len(content) > MAX_DOCUMENT_BYTES:
            raise CorruptDataError(f"{self._path}/{name}: a document of {len(content):,} bytes is too long")
        return bytes(content)


def mapped(path: Path) -> memoryview:
    """Return the bytes of an ordinary file that is not empty, read as they are needed.

    Raises
    ------
    OSError, ValueError
        If it is missing, empty or something else.
    """
    return memoryview(_opened(path))


def _opened(path: Path) -> mmap.mmap:
    with refuse_special(path).open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _listed(path: Path) -> dict[str, tuple[_Place, int]]:
    """Return the places and checksums of members by the directory at the file's end, if it can be read."""
    found: dict[str, tuple[_Place, int]] = {}
    with suppress(OSError, zipfile.BadZipFile, ValueError, NotImplementedError, struct.error), path.open("rb") as file:
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # says how long it is before all of it is read
        if end is None or end[5] > MAX_DIRECTORY_BYTES:
            return {}
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                start = member.header_offset + _LOCAL_HEADER.size + len(member.orig_filename.encode())
                found[member.filename] = (start, start + member.file_size), member.CRC
    return found


def _scanned(whole: mmap.mmap, path: Path) -> Iterator[tuple[str, _Place]]:
    """Yield the places of members by the headers before them, of the last one as much as there is.

    A member ends where its header says if something of a ZIP file stands there, else before the next header.
    """
    header, count = _next_header(whole, 0), 0
    while header >= 0:
        count += 1
        if count > _MOST_MEMBERS:
            raise CorruptDataError(f"{path}: more than {_MOST_MEMBERS:,} files in a ZIP file; a buffer has fewer")
        _, _, size, name_bytes, extra_bytes = _LOCAL_HEADER.unpack_from(whole, header)
        name_at = header + _LOCAL_HEADER.size
        start = name_at + name_bytes + extra_bytes
        stop = start + size
        if stop <= len(whole) and _ANY.startswith(whole[stop : stop + len(_ANY)]):  # the file may be cut in it
            following = _next_header(whole, stop)
        else:
            following = _next_header(whole, start)
            directory = whole.find(_DIRECTORY, start) if following < 0 else following
            stop = directory if directory >= 0 else len(whole)
        yield bytes(whole[name_at : name_at + name_bytes]).decode(errors="replace"), (start, stop)
        header = following


def _next_header(whole: mmap.mmap, place: int) -> int:
    """Return where the next header of a buffer's file is; -1 if there is none."""
    place = whole.find(_LOCAL, place)
    while place >= 0:
        name_at = place + _LOCAL_HEADER.size
        if name_at > len(whole):
            return -1
        *_, name_bytes, _ = _LOCAL_HEADER.unpack_from(whole, place)
        if _NAME.fullmatch(whole[name_at : name_at + name_bytes]):
            return place
        place = whole.find(_LOCAL, place + 1)
    return -1
