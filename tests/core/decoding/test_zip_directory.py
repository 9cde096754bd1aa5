import struct
import zipfile

import pytest

from rlbuffers.decoding import zip_directory
from rlbuffers.decoding.zip_directory import MAX_MEMBERS, require_few_members
from rlbuffers.errors import CorruptDataError, FormatError

LOCAL = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, 0, 0, 1, 0) + b"x"
ENTRY = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"x"
MANY = MAX_MEMBERS + 1


def end(members: int, directory: int, offset: bytes = b"\1\0\0\0", comment: bytes = b"") -> bytes:
    return struct.pack("<4s4HL4sH", b"PK\5\6", 0, 0, members, members, directory, offset, len(comment)) + comment


def end_64(members: int, directory: int) -> bytes:
    return struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, members, members, directory, len(LOCAL))


def locator(place: int) -> bytes:
    return struct.pack("<4sLQL", b"PK\6\7", 0, place, 1)


def layouts(directory: bytes) -> dict[str, bytes]:
    """Return archives with one directory, and all that says where it is and what it holds."""
    size, before = len(directory), LOCAL + end_64(0, 0)
    whole, place = before + directory, len(before) + len(directory)
    return {
        "stated": whole + end_64(size // len(ENTRY), size) + locator(place) + end(0xFFFF, 0xFFFFFFFF),
        "stated as 3": whole + end(3, size),
        "stated as 3, in 64 bits": whole + end_64(3, size) + locator(place) + end(3, 3),
        "behind a comment": whole + end(3, size, comment=b"c" * 0xFFFF),
        "with the mark of an end in the end": whole + end(3, size, b"PK\5\6"),
        "with a locator that leads to another record": whole + end_64(3, size) + locator(len(LOCAL)) + end(3, 3),
    }


NAMES = list(layouts(b""))


@pytest.mark.parametrize("name", NAMES)
def test_more_members_than_are_read_are_counted_however_they_are_stated(tmp_path, name):
    path = tmp_path / "x.zip"
    path.write_bytes(layouts(ENTRY * MANY)[name])
    with pytest.raises(CorruptDataError, match=r"x\.zip: expected a ZIP file of at most 100,000 members; it has "):
        require_few_members(path)


@pytest.mark.parametrize("name", NAMES)
def test_zipfile_finds_the_directories_of_these_tests(tmp_path, name):
    path = tmp_path / "x.zip"
    path.write_bytes(layouts(ENTRY * 2)[name])
    assert require_few_members(path) == path
    with zipfile.ZipFile(path) as archive:
        assert len(archive.infolist()) == 2


def test_a_directory_as_large_as_of_too_many_members_is_refused(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(LOCAL + end_64(1, 1 << 40) + locator(len(LOCAL)) + end(1, 1))
    with pytest.raises(CorruptDataError, match="it has 1, in a directory of 1,099,511,627,776 bytes"):
        require_few_members(path)


def test_archives_within_the_bound_pass(tmp_path, monkeypatch):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(10):
            archive.writestr(f"{number}", b"PK\1\2")
        archive.comment = b"a comment"
    monkeypatch.setattr(zip_directory, "MAX_MEMBERS", 10)
    assert require_few_members(path) == path
    monkeypatch.setattr(zip_directory, "MAX_MEMBERS", 9)
    with pytest.raises(CorruptDataError, match="at most 9 members; it has 10"):
        require_few_members(path)


@pytest.mark.parametrize("content", [b"", b"PK\5\6", b"no archive at all", LOCAL + ENTRY, bytes(100_000)])
def test_what_is_no_archive_is_left_to_zipfile(tmp_path, content):
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    assert require_few_members(path) == path
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(path)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(FormatError, match="found a directory"):
        require_few_members(tmp_path)
