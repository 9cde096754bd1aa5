from __future__ import annotations

import gzip
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlbuffers.decoding.gzip_stream import gunzip
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError

CONTENT = b"".join(b"record %d, " % number for number in range(300))
COMPRESSED = gzip.compress(CONTENT, mtime=0)
MIB = 1 << 20


@pytest.fixture(scope="module")
def decompress(tmp_path_factory):
    path = tmp_path_factory.mktemp("gzip") / "shard.gz"

    def decompress(data, on_read=None):
        path.write_bytes(data)
        pieces = list(gunzip(path, on_read))
        assert all(0 < len(piece) <= 4 * MIB for piece in pieces)
        return b"".join(pieces)

    return decompress


@given(parts=st.lists(st.binary(max_size=2000), min_size=1, max_size=4), level=st.integers(0, 9))
def test_members_one_after_the_other_are_one_stream(decompress, parts, level):
    assert decompress(b"".join(gzip.compress(part, level) for part in parts)) == b"".join(parts)


@pytest.mark.parametrize("extra", [-1, 0, 1, 258, 4 * MIB])
@pytest.mark.parametrize("level", [1, 9])
def test_output_larger_than_one_piece(decompress, extra, level):
    content = bytes(4 * MIB + extra)
    assert decompress(gzip.compress(content, level)) == content


@pytest.mark.parametrize("shift", [-9, -8, -7, -1, 0, 1, 2, 9, 10, 11])
def test_input_around_the_size_of_one_read(decompress, shift):
    """Stored blocks, so that the end of a member falls around the border between two reads."""
    content = np.random.default_rng(0).bytes(300_000)
    member = gzip.compress(content, 0)
    first = content[: len(content) - (len(member) - (1 << 18)) + shift]
    assert decompress(gzip.compress(first, 0) + member) == first + content


def test_headers_with_all_fields(decompress):
    flags = 4 | 8 | 16
    header = bytes([31, 139, 8, flags, 0, 0, 0, 0, 0, 255]) + b"\x02\x00ab" + b"name\x00" + b"comment\x00"
    assert decompress(header + COMPRESSED[10:]) == CONTENT


def test_the_compressed_bytes_are_shown_as_they_are_read(decompress):
    seen = []
    decompress(COMPRESSED * 3, seen.append)
    assert b"".join(seen) == COMPRESSED * 3


def test_a_stream_cut_short_anywhere_is_an_error(decompress):
    for length in range(len(COMPRESSED)):
        with pytest.raises(FormatError, match=r"shard\.gz: (cut short|the file is empty|not a GZIP file)"):
            decompress(COMPRESSED[:length])


def test_a_second_member_cut_short_anywhere_is_an_error(decompress):
    for length in range(1, len(COMPRESSED)):
        with pytest.raises(CorruptDataError, match=r"shard\.gz: (cut short|bytes that are not GZIP)"):
            decompress(COMPRESSED + COMPRESSED[:length])


def test_a_flipped_bit_is_noticed_or_harmless(decompress):
    """Harmless are only the header's time, system and extra flags, and what fills the last byte of the data."""
    last_of_data = len(COMPRESSED) - 9
    for place in range(len(COMPRESSED)):
        for bit in range(8):
            damaged = bytearray(COMPRESSED)
            damaged[place] ^= 1 << bit
            try:
                found = decompress(bytes(damaged))
            except FormatError:
                continue
            assert found == CONTENT
            assert 3 <= place < 10 or place == last_of_data


@pytest.mark.parametrize("tail", [b"\x00", b"more", b"\x1f", b"\x1f\x8b", COMPRESSED[:5]])
def test_what_follows_the_stream_is_an_error(decompress, tail):
    with pytest.raises(CorruptDataError, match=r"shard\.gz"):
        decompress(COMPRESSED + tail)


@pytest.mark.parametrize("data", [b"", b"x", b"\x1f", b"plain text", zlib.compress(CONTENT)])
def test_what_is_no_gzip_file_is_refused(decompress, data):
    with pytest.raises(FormatError, match="the file is empty" if not data else "not a GZIP file"):
        decompress(data)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BufferNotFoundError, match=r"nothing\.gz: there is no such file"):
        list(gunzip(tmp_path / "nothing.gz"))
    with pytest.raises(FormatError, match="expected a file, found a directory"):
        list(gunzip(tmp_path))
