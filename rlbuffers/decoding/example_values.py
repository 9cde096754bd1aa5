"""``tf.train.Example`` messages without TensorFlow: one message, features of any length.

For records that hold an episode each. Shards of small records of known shape go faster through
``example_proto.py``, which parses whole batches in compiled code; the wire format is described there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rlbuffers.decoding.protobuf_wire import MAX_VARINT_BYTES, Content, MalformedError, fields, messages, text, uint64
from rlbuffers.errors import CorruptDataError

__all__ = ["FeatureValues", "parse_example"]

Array = np.ndarray[Any, Any]
FeatureValues = Array | list[bytes]
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3


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
        for number, message in messages(view):
            if number != 1:
                continue
            for entry_number, entry in messages(message):
                if entry_number != 1:
                    continue
                name, values = _entry(entry)
                if name in features:
                    raise CorruptDataError(f"{where}: feature {name!r} occurs twice")
                features[name] = values
    except (MalformedError, ValueError) as error:
        if isinstance(error, CorruptDataError):
            raise
        raise CorruptDataError(f"{where}: not a well-formed tf.train.Example") from error
    return features


def _entry(entry: memoryview) -> tuple[str, FeatureValues]:
    name, values = "", _feature(memoryview(b""))
    for number, content in messages(entry):
        if number == 1:
            name = text(content)
        elif number == 2:
            values = _feature(content)
    return name, values


def _feature(feature: memoryview) -> FeatureValues:
    values: FeatureValues = []
    for kind, content in messages(feature):
        if kind == _BYTES_LIST:
            values = [bytes(item) for number, item in messages(content) if number == 1]
        elif kind == _FLOAT_LIST:
            values = _numbers(content, _floats)
        elif kind == _INT64_LIST:
            values = _numbers(content, _int64s)
    return values


def _numbers(content: memoryview, unpack: Any) -> Array:
    """Join the packed and the single values of a list."""
    parts = [unpack(item) for number, item in fields(content) if number == 1]
    joined: Array = np.concatenate(parts) if len(parts) != 1 and parts else (parts[0] if parts else unpack(b""))
    return joined


def _floats(packed: Content) -> Array:
    if isinstance(packed, int):
        raise MalformedError
    return np.frombuffer(packed, "<f4").astype(np.float32)


def _int64s(packed: Content) -> Array:
    """Decode packed varints: seven bits a byte, least significant first, the high bit set but on the last."""
    if isinstance(packed, int):
        return np.array([uint64(packed)], np.uint64).view(np.int64)
    data = np.frombuffer(packed, np.uint8)
    last = data < 0x80
    if not len(data):
        return np.empty(0, np.int64)
    if not last[-1]:
        raise MalformedError
    starts = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    places = np.arange(len(data)) - np.repeat(starts, np.diff(np.append(starts, len(data))))
    if places.max() >= MAX_VARINT_BYTES:
        raise MalformedError
    bits = (data & 0x7F).astype(np.uint64) << (places * 7).astype(np.uint64)
    return np.bitwise_or.reduceat(bits, starts).view(np.int64)
