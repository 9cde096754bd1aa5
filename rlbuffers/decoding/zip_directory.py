"""How many members a ZIP file has, before Python's `zipfile` makes an object of each.

The directory stands at the end of the file (APPNOTE.TXT of PKWARE, 4.3): a record of the end, before it in large
archives one of 64 bits, and in these the size of the directory.
"""

from __future__ import annotations

import struct
from pathlib import Path

from rlbuffers.errors import CorruptDataError
from rlbuffers.local_inputs import refuse_special

__all__ = ["MAX_MEMBERS", "require_few_members"]

MAX_MEMBERS = 100_000
"""How many members of an archive are looked at: each takes a kilobyte in memory."""
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_MAX_COMMENT_BYTES = (1 << 16) - 1
_ENTRY = b"PK\1\2"
# A member's entry in the directory has 46 bytes, its name, and what a writer adds.
_ENTRY_BYTES = 320
_END_RECORDS_BYTES = _END_64.size + _LOCATOR.size


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
        start = max(size - _END.size - _MAX_COMMENT_BYTES, 0)
        file.seek(start)
        tail = file.read()
        place = tail.rfind(b"PK\5\6")
        if place < 0 or place + _END.size > len(tail):
            return path
        fields = _END.unpack_from(tail, place)
        members, directory, end = fields[4], fields[5], start + place
        file.seek(max(end - _LOCATOR.size, 0))
        locator = file.read(_LOCATOR.size)
        if len(locator) == _LOCATOR.size and locator.startswith(b"PK\6\7"):
            file.seek(min(_LOCATOR.unpack(locator)[2], size))
            record = file.read(_END_64.size)
            if len(record) == _END_64.size and record.startswith(b"PK\6\6"):
                members, directory = _END_64.unpack(record)[7:9]
        if members <= MAX_MEMBERS and directory <= MAX_MEMBERS * _ENTRY_BYTES:
            file.seek(max(end - _END_RECORDS_BYTES - directory, 0))
            members = file.read(min(end, directory + _END_RECORDS_BYTES)).count(_ENTRY)  # whatever number is stated
        if members > MAX_MEMBERS or directory > MAX_MEMBERS * _ENTRY_BYTES:
            raise CorruptDataError(
                f"{path}: expected a ZIP file of at most {MAX_MEMBERS:,} members; it has {members:,}, in a directory "
                f"of {directory:,} bytes"
            )
    return path
