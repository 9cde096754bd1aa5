"""Writing ``tf.train.Example`` messages and the TFRecord framing around them, without TensorFlow.

The counterpart of ``example_values.py`` and ``tfrecord.py``, where the two formats are described.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rlbuffers.decoding.tfrecord import masked_crc32c
from rlbuffers.errors import UsageError

__all__ = ["framed_record", "serialize_example"]

Array = np.ndarray[Any, Any]
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3
_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")
_DELIMITED = 2
_BITS = 7


def serialize_example(features: Mapping[str, Array | Sequence[bytes]]) -> bytes:
    """Return a serialized Example; the same features give the same bytes, whatever their order.

    Parameters
    ----------
    features : mapping of name to array or sequence of bytes
        Arrays are flattened. Floats become a list of float32, booleans and integers one of int64;
        uint64 is stored bit by bit. Sequences of bytes become a list of bytes.

    Raises
    ------
    UsageError
        If an array is neither.
    """
    entries = []
    for name in sorted(features):
        entry = _delimited(1, [name.encode()]) + _delimited(2, _feature(name, features[name]))
        entries.append(_joined(1, entry))
    return b"".join(_delimited(1, [b"".join(entries)]))


def framed_record(data: bytes) -> bytes:
    """Return a record as it stands in a TFRecord file: length, checksum, data, checksum."""
    length = _LENGTH.pack(len(data))
    return b"".join(
        [length, _CHECKSUM.pack(masked_crc32c(length)), data, _CHECKSUM.pack(masked_crc32c(data))],
    )


def _feature(name: str, values: Array | Sequence[bytes]) -> list[bytes]:
    if not isinstance(values, np.ndarray):
        items = [piece for value in values for piece in _delimited(1, [value])]
        return _delimited(_BYTES_LIST, items)
    if values.dtype.kind == "f":
        return _delimited(_FLOAT_LIST, _packed(np.ascontiguousarray(values, "<f4").tobytes()))
    if values.dtype.kind in "biu":
        return _delimited(_INT64_LIST, _packed(_varints(values.ravel())))
    raise UsageError(f"feature {name!r}: an Example holds numbers and bytes, not {values.dtype}")


def _packed(content: bytes) -> list[bytes]:
    """Return the only field of a list of numbers; an empty list has none."""
    return _delimited(1, [content]) if content else []


def _joined(number: int, parts: Sequence[bytes]) -> bytes:
    return b"".join(_delimited(number, parts))


def _delimited(number: int, parts: Sequence[bytes]) -> list[bytes]:
    """Return a field of wire type 2 as the pieces to be joined."""
    return [bytes([number << 3 | _DELIMITED]), _varint(sum(map(len, parts))), *parts]


def _varint(value: int) -> bytes:
    return bytes(_varint_bytes(value))


def _varint_bytes(value: int) -> Iterator[int]:
    while value >= 1 << _BITS:
        yield value & 0x7F | 0x80
        value >>= _BITS
    yield value


def _varints(values: Array) -> bytes:
    """Encode integers as varints: seven bits a byte, least significant first, negative ones as 64 bits."""
    if values.dtype.kind == "b" or not len(values) or (values.min() >= 0 and values.max() < 1 << _BITS):
        return values.astype(np.uint8).tobytes()
    numbers = values.astype(np.int64).view(np.uint64)
    sizes = np.ones(len(numbers), np.int64)
    for place in range(1, 10):
        sizes += numbers >= np.uint64(1 << (_BITS * place))
    ends = np.cumsum(sizes)
    encoded = np.empty(int(ends[-1]), np.uint8)
    for place in range(int(sizes.max())):
        here = sizes > place
        low = (numbers[here] >> np.uint64(_BITS * place)).astype(np.uint8) & 0x7F
        goes_on = (sizes[here] > place + 1).astype(np.uint8) << _BITS
        encoded[ends[here] - sizes[here] + place] = low | goes_on
    return encoded.tobytes()
