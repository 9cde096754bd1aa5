from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire import crc32c, masked, tfrecord

from rlbuffers.decoding.tfrecord import masked_crc32c, read_records
from rlbuffers.errors import CorruptDataError

RECORDS = [b"", b"a", b"bc" * 100, b"\x00" * 7, b"last"]
STREAM = b"".join(tfrecord(record) for record in RECORDS)


def cut(stream, size):
    return [stream[start : start + size] for start in range(0, len(stream), size)]


def read(pieces, batch_records=2, limit=None):
    """Return all records, verified, after checking how they were batched."""
    records = []
    for batch in read_records(pieces, "shard", batch_records, limit):
        assert batch.first_record == len(records)
        assert 0 < len(batch) <= batch_records
        batch.verify("shard")
        records += [batch.data[start:stop] for start, stop in zip(batch.starts, batch.stops, strict=True)]
    return records


@given(st.binary(max_size=100))
def test_masked_checksums_are_those_of_the_specification(data):
    assert masked_crc32c(data) == masked(crc32c(data))


def test_a_published_checksum():
    """RFC 3720, appendix B.4: 32 bytes of zeros."""
    assert crc32c(bytes(32)) == 0x8A9136AA


@given(records=st.lists(st.binary(max_size=60), max_size=12), size=st.integers(1, 80), batch=st.integers(1, 5))
def test_records_come_back_however_the_stream_is_cut(records, size, batch):
    assert read(cut(b"".join(map(tfrecord, records)), size), batch) == records


@pytest.mark.parametrize("limit", range(7))
def test_a_limit_stops_reading(limit):
    def pieces():
        yield STREAM
        raise AssertionError("read too far")

    if limit <= len(RECORDS):
        assert read(pieces() if limit < len(RECORDS) else [STREAM], limit=limit) == RECORDS[:limit]
    else:
        assert read([STREAM], limit=limit) == RECORDS


def test_a_limit_does_not_look_at_what_follows():
    assert read([STREAM + b"damage"], limit=5) == RECORDS


@pytest.mark.parametrize("size", [1, 1000])
def test_a_stream_cut_short_at_any_byte_is_an_error_unless_between_records(size):
    borders = [len(b"".join(map(tfrecord, RECORDS[:count]))) for count in range(6)]
    for length in range(len(STREAM)):
        if length in borders:
            assert read(cut(STREAM[:length], size)) == RECORDS[: borders.index(length)]
        else:
            with pytest.raises(CorruptDataError, match=r"shard: cut short; the file ends within record \d"):
                read(cut(STREAM[:length], size))


def test_any_flipped_bit_is_noticed():
    for place in range(len(STREAM)):
        for bit in (0, 7):
            damaged = bytearray(STREAM)
            damaged[place] ^= 1 << bit
            with pytest.raises(CorruptDataError, match=r"^shard: (record \d|cut short)"):
                read([bytes(damaged)])


def test_a_damaged_record_is_named():
    damaged = bytearray(STREAM)
    damaged[-6] ^= 1
    with pytest.raises(CorruptDataError, match="shard: record 4: its CRC-32C does not fit"):
        read([bytes(damaged)])


def test_a_length_that_is_not_plausible_is_refused_before_reading_on():
    length = struct.pack("<Q", 1 << 40)
    with pytest.raises(CorruptDataError, match="record 0: it announces 1,099,511,627,776 bytes"):
        read([length + struct.pack("<I", masked(crc32c(length)))])


@given(st.binary(min_size=12, max_size=200))
def test_bytes_of_any_kind_are_refused(data):
    with pytest.raises(CorruptDataError, match="not TFRecord, or damaged"):
        read([data])
