"""A damaged HDF5 buffer, opened as if its superblock, or its root, were sound; the file itself is not changed.

The superblock says who has the file open, where it ends and where its root is. A writer that was killed leaves its
flags, a file that was cut short ends before it should, and a changed byte fails the checksum: the library then opens
nothing. All of it is known of our files, so the library is shown a sound one in its place. Where the root group is
damaged, it is shown one that links to every object whose header passes its checksum.
"""

from __future__ import annotations

import io
import itertools
import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from rlbuffers.local_inputs import refuse_special

__all__ = ["checksum_of", "opened_damaged", "opened_without_root"]

# HDF5 File Format Specification 3.0, section II.A, version 3: as `HDF5Writer` writes it.
_SUPERBLOCK = struct.Struct("<8sBBBBQQQQI")
_SIGNATURE, _VERSION, _ADDRESS_BYTES = b"\x89HDF\r\n\x1a\n", 3, 8
_EXTENSION, _ROOT = 0x30, 0x6C
_OBJECT_HEADER = b"OHDR"
# Section IV.A.1.b: flags of a version 2 header, and what they make longer.
_HEADER_VERSION, _SIZE_BITS, _PHASES, _TIMES = 2, 0x03, 0x10, 0x20
_LINK_INFO, _LINK, _GROUP_INFO = 2, 6, 10
_NOWHERE = bytes([0xFF]) * 8
_MAX_OBJECTS, _MAX_HEADER = 10_000, 1 << 16
_MASK = 0xFFFFFFFF


@contextmanager
def opened_damaged(path: Path) -> Iterator[h5py.File]:
    """Open a buffer for reading, with a sound superblock in place of its own.

    Raises
    ------
    OSError, RuntimeError
        Of h5py, if more is damaged than the superblock.
    """
    with _mapped(path) as (file, content):
        sound = _sound(content)
        if sound == content[: _SUPERBLOCK.size] or content[_ROOT : _ROOT + len(_OBJECT_HEADER)] != _OBJECT_HEADER:
            with h5py.File(path, "r", locking=False) as hdf5:
                yield hdf5
            return
        with h5py.File(_Overlaid(file, sound, len(content)), "r") as hdf5:
            yield hdf5


@contextmanager
def opened_without_root(path: Path) -> Iterator[h5py.File]:
    """Open a buffer with a root group that is made up: its objects are named by numbers, in the order of the file."""
    with _mapped(path) as (file, content):
        size = len(content)
        root = _group(list(itertools.islice(_headers(content), _MAX_OBJECTS)))
        with h5py.File(_Overlaid(file, _superblock(size + len(root), size, _NOWHERE), size, root), "r") as hdf5:
            yield hdf5


@contextmanager
def _mapped(path: Path) -> Iterator[tuple[io.BufferedReader, mmap.mmap]]:
    with refuse_special(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield file, content


def _headers(content: mmap.mmap) -> Iterator[int]:
    """Yield where object headers are that pass their checksums, but for the root's and the superblock's extension."""
    place = content.find(_OBJECT_HEADER, _ROOT + 1)
    while place >= 0:
        if _is_header(content, place):
            yield place
        place = content.find(_OBJECT_HEADER, place + 1, len(content) - _SUPERBLOCK.size)


def _is_header(content: mmap.mmap, place: int) -> bool:
    """Whether an object header is there that passes its checksum."""
    version, flags = content[place + 4 : place + 6]
    start = place + 6 + 16 * bool(flags & _TIMES) + 4 * bool(flags & _PHASES)
    width = 1 << (flags & _SIZE_BITS)
    end = start + width + int.from_bytes(content[start : start + width], "little")
    is_one = version == _HEADER_VERSION and end - place < _MAX_HEADER
    return is_one and checksum_of(content[place:end]).to_bytes(4, "little") == content[end : end + 4]


def _group(places: list[int]) -> bytes:
    """Return the header of a group of objects."""
    messages = [(_LINK_INFO, bytes(2) + 2 * _NOWHERE), (_GROUP_INFO, bytes(2))]
    for number, place in enumerate(places):
        name = str(number).encode()
        messages.append((_LINK, bytes([1, 0, len(name)]) + name + place.to_bytes(8, "little")))
    body = b"".join(struct.pack("<BHB", kind, len(text), 0) + text for kind, text in messages)
    header = _OBJECT_HEADER + bytes([_HEADER_VERSION, 2]) + len(body).to_bytes(4, "little") + body
    return header + checksum_of(header).to_bytes(4, "little")


def _sound(content: mmap.mmap) -> bytes:
    """Return the superblock as it should be: no flags, and the end where the file ends, at the latest."""
    end = len(content)
    if end < _ROOT + _SUPERBLOCK.size:
        return content[: _SUPERBLOCK.size]
    first = content[: _SUPERBLOCK.size]
    flags, stated, checksum = first[11], *struct.unpack("<Q", first[28:36]), first[-4:]
    has_extension = _is_header(content, _EXTENSION)
    known = [checksum_of(text).to_bytes(4, "little") for text in (first[:-4], bytes([*first[:11], 0, *first[12:-4]]))]
    if checksum == known[0] and not flags and stated <= end and has_extension:
        return first
    if checksum in known:
        end = min(stated, end)
    return _superblock(end, _ROOT, _EXTENSION.to_bytes(8, "little") if has_extension else _NOWHERE)


def _superblock(end: int, root: int, extension: bytes) -> bytes:
    where = int.from_bytes(extension, "little")
    text = _SUPERBLOCK.pack(_SIGNATURE, _VERSION, _ADDRESS_BYTES, _ADDRESS_BYTES, 0, 0, where, end, root, 0)[:-4]
    return text + checksum_of(text).to_bytes(4, "little")


class _Overlaid(io.RawIOBase):
    """A file with other bytes at its beginning, and more behind its end."""

    def __init__(self, file: io.BufferedReader, first: bytes, size: int, more: bytes = b"") -> None:
        self._file, self._first, self._end, self._more = file, first, size, more
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = (
            offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._end + len(self._more)}[whence]
        )
        return self._place

    def readinto(self, target: object) -> int:
        view = memoryview(target)  # type: ignore[arg-type]
        self._file.seek(self._place)
        content = bytearray(self._file.read(len(view)))
        beyond = max(self._place - self._end, 0)
        content += self._more[beyond : beyond + len(view) - len(content)]
        replaced = self._first[self._place : self._place + len(content)]
        content[: len(replaced)] = replaced
        view[: len(content)] = content
        self._place += len(content)
        return len(content)


def checksum_of(content: bytes) -> int:
    """Return HDF5's checksum of metadata: Bob Jenkins' lookup3 (``hashlittle``), with 0 as the initial value."""
    a = b = c = (0xDEADBEEF + len(content)) & _MASK
    if not content:
        return c
    padded = content + bytes(-len(content) % 12)
    words: tuple[int, ...] = struct.unpack(f"<{len(padded) // 4}I", padded)
    for place in range(0, len(words) - 3, 3):
        a, b, c = (a + words[place]) & _MASK, (b + words[place + 1]) & _MASK, (c + words[place + 2]) & _MASK
        for turn in (4, 6, 8, 16, 19, 4):
            a = ((a - c) & _MASK) ^ _turned(c, turn)
            c = (c + b) & _MASK
            a, b, c = b, c, a
    a, b, c = (a + words[-3]) & _MASK, (b + words[-2]) & _MASK, (c + words[-1]) & _MASK
    for turn in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _turned(b, turn)) & _MASK
        a, b, c = b, c, a
    return b


def _turned(value: int, bits: int) -> int:
    return (value << bits | value >> (32 - bits)) & _MASK
