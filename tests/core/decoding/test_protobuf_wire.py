"""The wire format: what each wire type gives, and that nothing but our error comes of other bytes."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire import delimited, varint

from rlbuffers.decoding.protobuf_wire import MalformedError, double, fields, int64, message, messages, text, uint64

INT64S = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(st.tuples(st.integers(1, 2**20), INT64S)))
def test_varints(pairs):
    view = memoryview(b"".join(varint(number * 8) + varint(value) for number, value in pairs))
    assert [(number, int64(content)) for number, content in fields(view)] == pairs
    assert [uint64(content) for _, content in fields(view)] == [value % 2**64 for _, value in pairs]
    assert list(messages(view)) == []


@given(st.lists(st.tuples(st.integers(1, 100), st.binary(max_size=300))))
def test_messages(pairs):
    view = memoryview(b"".join(delimited(number, content) for number, content in pairs))
    assert [(number, bytes(content)) for number, content in messages(view)] == pairs
    assert [(number, bytes(message(content))) for number, content in fields(view)] == pairs


@given(st.floats(allow_nan=False), st.text())
def test_doubles_and_texts(value, words):
    encoded = varint(8 + 1) + struct.pack("<d", value) + delimited(2, words.encode())
    (_, first), (_, second) = fields(memoryview(encoded))
    assert double(first) == value
    assert text(second) == words


def test_a_varint_beyond_64_bits_is_cut():
    (content,) = [content for _, content in fields(memoryview(b"\x08" + b"\xff" * 9 + b"\x7f"))]
    assert uint64(content) == 2**64 - 1
    assert int64(content) == -1


@pytest.mark.parametrize(
    "data",
    [
        *(b"\x80", b"\x08", b"\x08\x80", b"\x08" + b"\x80" * 10 + b"\x01"),
        *(b"\x0a\x05abc", b"\x0a", b"\x09\x00\x00", b"\x0d\x00", b"\x0b", b"\x0c", b"\x0e", b"\x0f"),
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    ],
)
def test_malformed_messages(data):
    with pytest.raises(MalformedError):
        list(fields(memoryview(data)))


@pytest.mark.parametrize("read", [double, text, message, uint64, int64])
def test_content_of_another_wire_type(read):
    encoded = varint(8) + varint(7) + varint(8 + 1) + bytes(8) + varint(8 + 5) + bytes(4) + delimited(1, b"\xff")
    right = {double: [1], text: [], message: [3], uint64: [0], int64: [0]}[read]
    for place, (_, content) in enumerate(fields(memoryview(encoded))):
        if place not in right:
            with pytest.raises(MalformedError):
                read(content)


@given(st.binary(max_size=60))
def test_garbage(data):
    try:
        for _, content in fields(memoryview(data)):
            for read in (double, text, uint64, int64):
                with contextlib.suppress(MalformedError):
                    read(content)
    except MalformedError:
        pass
