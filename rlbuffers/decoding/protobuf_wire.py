"""The Protocol Buffers wire format: a message is a run of numbered fields.

Each field begins with a varint, the field's number times 8 plus its wire type, which tells how long the content is.
Nothing here knows a schema; fields that a reader does not ask for are passed over, as later versions may add some.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = [
    "MAX_VARINT_BYTES",
    "Content",
    "MalformedError",
    "double",
    "fields",
    "int64",
    "message",
    "messages",
    "text",
    "uint64",
]

# A varint, a number of fixed size, or what has a length: a message, text, bytes, or packed numbers.
Content = int | bytes | memoryview
MAX_VARINT_BYTES = 10
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_WORD = 1 << 64
_MORE = 0x80  # a byte of a varint from here on has another one behind it
_DOUBLE = struct.Struct("<d")


class MalformedError(Exception):
    """The bytes are no message of the expected kind; readers catch this and say where."""


def fields(view: memoryview) -> Iterator[tuple[int, Content]]:
    """Yield number and content of every field, in the order of the bytes.

    Raises
    ------
    MalformedError
        If a field goes on beyond the end, or is of an unknown wire type.
    """
    position, stop = 0, len(view)
    content: Content
    while position < stop:
        tag = view[position]
        position += 1
        if tag >= _MORE:  # most varints are of one byte, and a call for each would take most of the time
            tag, position = _varint(view, position - 1)
        wire_type = tag & 7
        if wire_type in (_DELIMITED, _VARINT):
            if position == stop:
                raise MalformedError
            value = view[position]
            position += 1
            if value >= _MORE:
                value, position = _varint(view, position - 1)
            content = value
            if wire_type == _DELIMITED:
                content = view[position : position + value]
                position += value
        elif wire_type in _FIXED_BYTES:
            start = position
            position += _FIXED_BYTES[wire_type]
            content = bytes(view[start:position])
        else:
            raise MalformedError
        if position > stop:
            raise MalformedError
        yield tag >> 3, content


def messages(view: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the fields that have a length; others are passed over.

    Raises
    ------
    MalformedError
        As `fields`.
    """
    for number, content in fields(view):
        if isinstance(content, memoryview):
            yield number, content


def message(content: Content) -> memoryview:
    """Return the bytes of a message.

    Raises
    ------
    MalformedError
        If the content is a number.
    """
    if not isinstance(content, memoryview):
        raise MalformedError
    return content


def uint64(content: Content) -> int:
    """Return a varint, of which only 64 bits count.

    Raises
    ------
    MalformedError
        If the content is no varint.
    """
    if not isinstance(content, int):
        raise MalformedError
    return content % _WORD


def int64(content: Content) -> int:
    """Return the number in a field of type int32, int64 or enum: negative ones are of 64 bits.

    Raises
    ------
    MalformedError
        If the content is no varint.
    """
    value = uint64(content)
    return value - _WORD if value >= _WORD >> 1 else value


def double(content: Content) -> float:
    """Return the number in a field of type double.

    Raises
    ------
    MalformedError
        If the content is not of 8 bytes.
    """
    if not isinstance(content, bytes) or len(content) != _DOUBLE.size:
        raise MalformedError
    return float(_DOUBLE.unpack(content)[0])


def text(content: Content) -> str:
    """Return the content of a field of type string.

    Raises
    ------
    MalformedError
        If it is not UTF-8.
    """
    try:
        return bytes(message(content)).decode()
    except UnicodeDecodeError as error:
        raise MalformedError from error


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    """Return the number at a position, and where the next thing begins."""
    value = shift = 0
    for byte in view[position : position + MAX_VARINT_BYTES]:
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < _MORE:
            return value, position
        shift += 7
    raise MalformedError
