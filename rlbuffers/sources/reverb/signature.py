"""A table's signature: the names of its columns.

Reverb stores it as a TensorFlow ``StructuredValue``. Columns stand in the order in which dm-tree flattens the
structure: the keys of a dict sorted, the messages of a named tuple and the entries of tuples and lists as they are.
"""

from __future__ import annotations

from collections.abc import Iterator

from rlbuffers.decoding.protobuf_wire import MalformedError, messages, text

__all__ = ["column_names"]

_SPECS = (33, 34, 35)  # of a tensor, of another type, of a tensor with bounds
_LIST, _TUPLE, _DICT, _NAMED_TUPLE = 51, 52, 53, 54
_MAX_DEPTH = 50


def column_names(signature: memoryview) -> list[str]:
    """Return the names of the columns, nested ones joined by ``/``; entries of tuples have numbers.

    A signature that is a single spec has one column without a name.

    Raises
    ------
    MalformedError
        If the bytes are no StructuredValue.
    """
    return ["/".join(path) for path in _paths(signature, ())]


def _paths(value: memoryview, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if len(path) > _MAX_DEPTH:
        raise MalformedError
    for kind, content in messages(value):
        if kind in _SPECS:
            yield path
        elif kind in (_LIST, _TUPLE):
            entries = [entry for number, entry in messages(content) if number == 1]
            for place, entry in enumerate(entries):
                yield from _paths(entry, (*path, str(place)))
        elif kind in (_DICT, _NAMED_TUPLE):
            pairs = [_pair(entry) for number, entry in messages(content) if number == (1 if kind == _DICT else 2)]
            for name, entry in sorted(pairs, key=lambda pair: pair[0]) if kind == _DICT else pairs:
                yield from _paths(entry, (*path, name))


def _pair(entry: memoryview) -> tuple[str, memoryview]:
    name, value = "", memoryview(b"")
    for number, content in messages(entry):
        if number == 1:
            name = text(content)
        elif number == 2:
            value = content
    return name, value
