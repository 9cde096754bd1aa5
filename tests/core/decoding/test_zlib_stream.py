"""ZLIB files as a stream: any content in bounded pieces, and one line for what is no such file."""

from __future__ import annotations

import contextlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlbuffers.decoding.zlib_stream import inflate
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError

MIB = 1 << 20


@pytest.mark.parametrize("size", [0, 1, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 9 * MIB])
@pytest.mark.parametrize("level", [0, 9])
def test_content_in_pieces(tmp_path, size, level):
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    path, read = tmp_path / "x", []
    path.write_bytes(zlib.compress(data, level))
    pieces = list(inflate(path, read.append))
    assert b"".join(pieces) == data
    assert max(map(len, pieces), default=0) <= 4 * MIB
    assert b"".join(read) == path.read_bytes()


@given(st.data())
def test_damage_raises_only_our_errors(tmp_path_factory, data):
    content = bytearray(zlib.compress(b"some words, some words" * 9))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("zlib") / "x"
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    with contextlib.suppress(FormatError):
        list(inflate(path))
        pytest.fail("damage went unnoticed")


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", FormatError, "the file is empty"),
        (b"\x1f\x8b\x08", FormatError, "not a ZLIB file .its first bytes are 1f8b"),
        (zlib.compress(b"abc")[:-1], CorruptDataError, "cut short"),
        (zlib.compress(b"abc")[:-1] + b"\x00", CorruptDataError, "damaged near byte"),
        (zlib.compress(b"abc") + b"x", CorruptDataError, "bytes that are not ZLIB follow"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, data, error, words):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(error, match=words):
        list(inflate(tmp_path / "x"))


def test_no_file(tmp_path):
    with pytest.raises(BufferNotFoundError):
        list(inflate(tmp_path / "x"))
