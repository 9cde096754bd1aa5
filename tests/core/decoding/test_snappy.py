"""Raw Snappy: the format's elements one by one, and that nothing but our error comes of other bytes."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reverb_checkpoint import snappy
from wire import varint

from rlbuffers.decoding.snappy import decompress, decompressed_size
from rlbuffers.errors import CorruptDataError

LITERALS = st.binary(min_size=1, max_size=70).map(lambda data: ("literal", data))
COPIES = st.tuples(st.just("copy"), st.integers(1, 64), st.integers(0, 10**6), st.sampled_from([1, 2, 4]))


def literal(data, num_bytes=0):
    length = len(data) - 1
    if num_bytes == 0 and length < 60:
        return bytes([length << 2]) + data
    num_bytes = num_bytes or 1
    return bytes([(59 + num_bytes) << 2]) + length.to_bytes(num_bytes, "little") + data


def copy(length, offset, num_bytes):
    if num_bytes == 1:
        return bytes([(offset >> 8) << 5 | (length - 4) << 2 | 1, offset & 255])
    return bytes([(length - 1) << 2 | (2 if num_bytes == 2 else 3)]) + offset.to_bytes(num_bytes, "little")


@given(st.lists(LITERALS | COPIES, max_size=30))
def test_elements(elements):
    """Elements of every kind against a loop that appends byte by byte."""
    expected, encoded = bytearray(), b""
    for kind, *words in elements:
        if kind == "literal":
            expected += words[0]
            encoded += literal(words[0])
            continue
        length, choice, num_bytes = words
        if not expected:
            continue
        reach = {1: 2047, 2: 65535, 4: 2**32 - 1}[num_bytes]
        offset = 1 + choice % min(len(expected), reach)
        length = 4 + length % 8 if num_bytes == 1 else length
        for _ in range(length):
            expected.append(expected[-offset])
        encoded += copy(length, offset, num_bytes)
    data = varint(len(expected)) + encoded
    assert decompressed_size(data, "x") == len(expected)
    found = decompress(data, "x")
    assert found.dtype == np.uint8
    assert found.tobytes() == bytes(expected)


@given(st.binary(max_size=500) | st.binary(max_size=6).map(lambda piece: piece * 60))
def test_round_trip(data):
    assert decompress(snappy(data), "x").tobytes() == data


@pytest.mark.parametrize("num_bytes", [1, 2, 3, 4])
def test_long_literals(num_bytes):
    data = bytes(range(200))
    assert decompress(varint(200) + literal(data, num_bytes), "x").tobytes() == data


@given(st.binary(max_size=80))
def test_garbage(data):
    try:
        found = decompress(data, "x")
    except CorruptDataError:
        return
    assert len(found) == decompressed_size(data, "x")


@given(st.data())
def test_one_damaged_byte(data):
    good = bytearray(snappy(b"abcdefgh" * 9 + bytes(40)))
    place = data.draw(st.integers(0, len(good) - 1))
    good[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(CorruptDataError):
        decompress(bytes(good), "x")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "do not begin with a size"),
        (b"\xff\xff\xff\xff\xff\x01", "do not begin with a size"),
        (b"\xff\xff\xff\xff\x0f\x00a", "7 bytes of Snappy data cannot become 4,294,967,295"),
        (varint(4) + literal(b"abc"), "damaged or cut short; expected 4 bytes"),
        (varint(2) + literal(b"abc"), "damaged"),
        (varint(9) + literal(b"abc")[:-1], "damaged"),
        (varint(9) + bytes([61 << 2, 1]), "damaged"),
        (varint(9) + literal(b"abc") + copy(6, 4, 2), "damaged"),
        (varint(9) + literal(b"abc") + copy(6, 0, 2), "damaged"),
        (varint(9) + literal(b"abc") + copy(7, 1, 2), "damaged"),
        (varint(9) + literal(b"abc") + copy(6, 1, 4)[:-1], "damaged"),
        (varint(9) + literal(b"abc") + copy(6, 2**32 - 1, 4), "damaged"),
        (varint(3) + bytes([63 << 2, 255, 255, 255, 255]) + b"abc", "damaged"),
    ],
)
def test_damage_is_named(data, words):
    with pytest.raises(CorruptDataError, match=words):
        decompress(data, "x")
