"""How many members a ZIP file has, before Python's `zipfile` makes an object of each.

The directory stands at the end of the file (APPNOTE.TXT of PKWARE, 4.3): a record of the end, before it in large
archives one of 64 bits, and in these the size of the directory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from rlbuffers.errors import CorruptDataError
from rlbuffers.local_inputs import refuse_special

__all__ = ["MAX_MEMBERS", "require_few_members"]

MAX_MEMBERS = 100_000
"""How many members of an archive are looked at: each takes a kilobyte in memory."""
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_END_MARK = b"PK\5\6"
_LONGEST_COMMENT = 1 << 16
_ENTRY = b"PK\1\2"
# A member's entry in the directory has 46 bytes, its name, and what a writer adds.
_ENTRY_BYTES = 320
_MAX_DIRECTORY_BYTES = MAX_MEMBERS * _ENTRY_BYTES


def require_few_members(path: Path) -> Path:
    """Return `path` unless it is a ZIP file with more members than are read; what else is wrong is left to `zipfile`.

    Raises
    ------
    CorruptDataError
        If it has more than `MAX_MEMBERS` members, or a directory as large as of so many.
    FormatError
        If it is no file.
    """
    size = refuse_special(path).stat().st_size
    with path.open("rb") as file:
        for end, members, directory in set(_directories(file, size)):
            if members <= MAX_MEMBERS and directory <= _MAX_DIRECTORY_BYTES:
                file.seek(max(end - directory, 0))
                members = file.read(min(end, directory)).count(_ENTRY)  # whatever number is stated
            if members > MAX_MEMBERS or directory > _MAX_DIRECTORY_BYTES:
                raise CorruptDataError(
                    f"{path}: expected a ZIP file of at most {MAX_MEMBERS:,} members; it has {members:,}, in a "
                    f"directory of {directory:,} bytes"
                )
    return path


def _directories(file: BinaryIO, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield where the directory of an archive may end, the number of its members and its bytes.

    Readers differ in which record of the end they take, and in where they look for the one of 64 bits, so that one
    file can show each of them another directory. All are looked at.
    """
    start = max(size - _END.size - _LONGEST_COMMENT, 0)
    file.seek(start)
    tail = file.read()
    for place in {len(tail) - _END.size, tail.rfind(_END_MARK)}:
        if place < 0 or place + _END.size > len(tail) or not tail.startswith(_END_MARK, place):
            continue
        fields, end = _END.unpack_from(tail, place), start + place
        file.seek(max(end - _LOCATOR.size, 0))
        locator = file.read(_LOCATOR.size)
        before = end - _LOCATOR.size - _END_64.size
        is_replaced = False
        if len(locator) == _LOCATOR.size and locator.startswith(b"PK\6\7"):
            for record_place in {before, min(_LOCATOR.unpack(locator)[2], size)}:
                file.seek(max(record_place, 0))
                record = file.read(_END_64.size)
                if len(record) == _END_64.size and record.startswith(b"PK\6\6"):
                    is_replaced = is_replaced or record_place == before
                    yield record_place, *_END_64.unpack(record)[7:9]
        if not is_replaced:  # else these are the largest numbers of 16 and 32 bits
            yield end, fields[4], fields[5]
