"""``tf.train.Example`` messages without TensorFlow: one message, features of any length.

For records that hold an episode each. Shards of small records of known shape go faster through
``example_proto.py``, which parses whole batches in compiled code; the wire format is described there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from rlbuffers.errors import CorruptDataError

__all__ = ["FeatureValues", "parse_example"]

Array = np.ndarray[Any, Any]
FeatureValues = Array | list[bytes]
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3
_MAX_VARINT_BYTES = 10


class _MalformedError(Exception):
    """The bytes are no Protocol Buffers message of the expected kind."""


def parse_example(record: bytes | memoryview, where: str) -> dict[str, FeatureValues]:
    """Return the features of an Example by name.

    Parameters
    ----------
    record : bytes or memoryview
        One serialized message.
    where : str
        Names the record in error messages.

    Returns
    -------
    dict of name to float32 array, int64 array, or list of bytes
        An empty feature, which has no kind, is an empty list.

    Raises
    ------
    CorruptDataError
        If the bytes are no such message, or a feature occurs twice.
    """
    view = memoryview(record)
    features: dict[str, FeatureValues] = {}
    try:
        for number, message in _messages(view):
            if number != 1:
                continue
            for entry_number, entry in _messages(message):
                if entry_number != 1:
                    continue
                name, values = _entry(entry)
                if name in features:
                    raise CorruptDataError(f"{where}: feature {name!r} occurs twice")
                features[name] = values
    except (_MalformedError, IndexError, ValueError) as error:
        if isinstance(error, CorruptDataError):
            raise
        raise CorruptDataError(f"{where}: not a well-formed tf.train.Example") from error
    return features


def _entry(entry: memoryview) -> tuple[str, FeatureValues]:
    name, values = "", _feature(memoryview(b""))
    for number, content in _messages(entry):
        if number == 1:
            name = bytes(content).decode()
        elif number == 2:
            values = _feature(content)
    return name, values


def _feature(feature: memoryview) -> FeatureValues:
    values: FeatureValues = []
    for kind, content in _messages(feature):
        if kind == _BYTES_LIST:
            values = [bytes(item) for number, item in _messages(content) if number == 1]
        elif kind == _FLOAT_LIST:
            values = _numbers(content, _floats)
        elif kind == _INT64_LIST:
            values = _numbers(content, _int64s)
    return values


def _numbers(content: memoryview, unpack: Any) -> Array:
    """Join the packed and the single values of a list."""
    parts = [unpack(item) for number, item in _fields(content) if number == 1]
    joined: Array = np.concatenate(parts) if len(parts) != 1 and parts else (parts[0] if parts else unpack(b""))
    return joined


def _floats(packed: bytes | memoryview) -> Array:
    return np.frombuffer(packed, "<f4").astype(np.float32)


def _int64s(packed: bytes | memoryview) -> Array:
    """Decode packed varints: seven bits a byte, least significant first, the high bit set but on the last."""
    data = np.frombuffer(packed, np.uint8)
    last = data < 0x80
    if not len(data):
        return np.empty(0, np.int64)
    if not last[-1]:
        raise _MalformedError
    starts = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    places = np.arange(len(data)) - np.repeat(starts, np.diff(np.append(starts, len(data))))
    if places.max() >= _MAX_VARINT_BYTES:
        raise _MalformedError
    bits = (data & 0x7F).astype(np.uint64) << (places * 7).astype(np.uint64)
    return np.bitwise_or.reduceat(bits, starts).view(np.int64)


def _messages(view: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the length-delimited fields of a message; others would be of a later version and are passed over."""
    for number, content, wire_type in _raw_fields(view):
        if wire_type == _DELIMITED:
            yield number, content


def _fields(view: memoryview) -> Iterator[tuple[int, memoryview]]:
    for number, content, _ in _raw_fields(view):
        yield number, content


def _raw_fields(view: memoryview) -> Iterator[tuple[int, memoryview, int]]:
    position = 0
    while position < len(view):
        tag, position = _varint(view, position)
        wire_type = tag & 7
        start = position
        if wire_type == _VARINT:
            _, position = _varint(view, position)
        elif wire_type == _DELIMITED:
            length, start = _varint(view, position)
            position = start + length
        elif wire_type in _FIXED_BYTES:
            position += _FIXED_BYTES[wire_type]
        else:
            raise _MalformedError
        if position > len(view):
            raise _MalformedError
        yield tag >> 3, view[start:position], wire_type


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for place in range(_MAX_VARINT_BYTES):
        byte = view[position + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, position + place + 1
    raise _MalformedError
