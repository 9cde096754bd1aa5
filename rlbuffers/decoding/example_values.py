"""``tf.train.Example`` messages without TensorFlow: one message, features of any length.

For records that hold an episode each. Shards of small records of known shape go faster through
``example_proto.py``, which parses whole batches in compiled code; the wire format is described there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from rlbuffers.decoding.claims import FREE_BYTES, require_room
from rlbuffers.decoding.protobuf_wire import MAX_VARINT_BYTES, Content, MalformedError, fields, messages, text, uint64
from rlbuffers.errors import CorruptDataError

__all__ = ["FeatureValues", "parse_example"]

Array = np.ndarray[Any, Any]
FeatureValues = Array | list[bytes]
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3
_BLOCK_BYTES = 1 << 20
# What Python takes for a byte string, for an array of a single number, and for a feature, beside their content.
_BYTES_OBJECT, _ARRAY_OBJECT, _FEATURE_OBJECTS = 48, 160, 320
_INT64_BYTES = 8
_MORE = 0x80  # a byte of a varint from here on has another one behind it


def parse_example(record: bytes | memoryview, where: str, most: int = FREE_BYTES) -> dict[str, FeatureValues]:
    """Return the features of an Example by name.

    Parameters
    ----------
    record : bytes or memoryview
        One serialized message.
    where : str
        Names the record in error messages.
    most : int
        How many bytes its values may take in memory: numbers of one byte become eight. See
        `rlbuffers.decoding.claims.most_bytes`.

    Returns
    -------
    dict of name to float32 array, int64 array, or list of bytes
        An empty feature, which has no kind, is an empty list.

    Raises
    ------
    CorruptDataError
        If the bytes are no such message, a feature occurs twice, or its values are too many.
    """
    view = memoryview(record)
    features: dict[str, FeatureValues] = {}
    room = _Room(most, where)
    try:
        for number, message in messages(view):
            if number != 1:
                continue
            for entry_number, entry in messages(message):
                if entry_number != 1:
                    continue
                name, values = _entry(entry, room)
                if name in features:
                    raise CorruptDataError(f"{where}: feature {name!r} occurs twice")
                features[name] = values
    except (MalformedError, ValueError) as error:
        if isinstance(error, CorruptDataError):
            raise
        raise CorruptDataError(f"{where}: not a well-formed tf.train.Example") from error
    return features


class _Room:
    """What the values of one record may still take in memory."""

    def __init__(self, most: int, where: str) -> None:
        self._most, self._where = most, where
        self._taken = 0

    def take(self, num_bytes: int) -> None:
        self._taken += num_bytes
        if self._taken > self._most:
            require_room(self._taken, self._most, self._where)


def _entry(entry: memoryview, room: _Room) -> tuple[str, FeatureValues]:
    name, values = "", _feature(memoryview(b""), room)
    for number, content in messages(entry):
        if number == 1:
            name = text(content)
        elif number == 2:
            values = _feature(content, room)
    return name, values


def _feature(feature: memoryview, room: _Room) -> FeatureValues:
    room.take(_FEATURE_OBJECTS)
    values: FeatureValues = []
    for kind, content in messages(feature):
        if kind == _BYTES_LIST:
            values = list(_byte_strings(content, room))
        elif kind == _FLOAT_LIST:
            values = _numbers(content, _floats, room)
        elif kind == _INT64_LIST:
            values = _numbers(content, _int64s, room)
    return values


def _byte_strings(content: memoryview, room: _Room) -> Iterator[bytes]:
    for number, item in messages(content):
        room.take(_BYTES_OBJECT + len(item))
        if number == 1:
            yield bytes(item)


def _numbers(content: memoryview, unpack: Any, room: _Room) -> Array:
    """Join the packed and the single values of a list."""
    parts = [unpack(item, room) for number, item in fields(content) if number == 1]
    joined: Array = np.concatenate(parts) if len(parts) != 1 and parts else (parts[0] if parts else unpack(b"", room))
    return joined


def _floats(packed: Content, room: _Room) -> Array:
    if isinstance(packed, int):
        raise MalformedError
    room.take(_ARRAY_OBJECT + len(packed))
    return np.frombuffer(packed, "<f4").astype(np.float32)


def _int64s(packed: Content, room: _Room) -> Array:
    """Decode packed varints, in blocks, as what is made of them on the way is many times larger."""
    if isinstance(packed, int):
        room.take(_ARRAY_OBJECT)
        return np.array([uint64(packed)], np.uint64).view(np.int64)
    data = np.frombuffer(packed, np.uint8)
    count = int(np.count_nonzero(data < _MORE))
    room.take(_ARRAY_OBJECT + _INT64_BYTES * count)
    if len(data) and data[-1] >= _MORE:
        raise MalformedError
    found = np.empty(count, np.int64)
    start = filled = 0
    while start < len(data):
        stop = min(start + _BLOCK_BYTES, len(data))
        last = np.flatnonzero(data[max(stop - MAX_VARINT_BYTES, start) : stop] < _MORE)
        if not len(last):
            raise MalformedError
        stop = max(stop - MAX_VARINT_BYTES, start) + int(last[-1]) + 1
        values = _varints(data[start:stop])
        found[filled : filled + len(values)] = values
        start, filled = stop, filled + len(values)
    return found


def _varints(data: Array) -> Array:
    """Decode one varint or more: seven bits a byte, least significant first, the high bit set but on the last."""
    last = data < _MORE
    starts = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    places = np.arange(len(data)) - np.repeat(starts, np.diff(np.append(starts, len(data))))
    if places.max() >= MAX_VARINT_BYTES:
        raise MalformedError
    bits = (data & 0x7F).astype(np.uint64) << (places * 7).astype(np.uint64)
    return np.bitwise_or.reduceat(bits, starts).view(np.int64)
