"""The messages of a Reverb checkpoint: tables, items, and the chunks in which their tensors lie.

Fields and their numbers are those of Reverb's ``schema.proto`` and ``checkpoint.proto`` and of TensorFlow's
``tensor.proto``; what is not needed is passed over. Every function raises `MalformedError` where the bytes are no
such message.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from rlbuffers.decoding.protobuf_wire import MalformedError, double, fields, int64, message, messages, text, uint64

__all__ = [
    "ChunkHead",
    "Column",
    "Item",
    "Slice",
    "Table",
    "Tensor",
    "parse_chunk_head",
    "parse_chunk_tensor",
    "parse_item",
    "parse_shape",
    "parse_table",
]

_MAX_INT32 = (1 << 31) - 1
_MAX_RANK = 30
_NOTHING = memoryview(b"")


class Slice(NamedTuple):
    """Rows `offset` to `offset` + `length` of the tensor number `tensor` of a chunk."""

    chunk_key: int
    offset: int
    length: int
    tensor: int


class Column(NamedTuple):
    """One column of an item: slices one after the other; squeezed, it is one row without an axis of time."""

    slices: list[Slice]
    squeeze: bool


class Item(NamedTuple):
    """What a table holds: references to rows of chunks, with a priority.

    `is_old` says that the rows are told as Reverb did before 2021, which is not read.
    """

    table: str
    priority: float
    columns: list[Column]
    is_old: bool


class ChunkHead(NamedTuple):
    """A chunk without its tensors: consecutive steps of an episode, from `start` on, unless it is `sparse`."""

    key: int
    episode: int
    start: int
    sparse: bool
    delta_encoded: bool


class Tensor(NamedTuple):
    """TensorFlow's number of a type, the shape, and the bytes, compressed as Reverb does."""

    dtype: int
    shape: tuple[int, ...]
    content: memoryview


class Table(NamedTuple):
    """A table's name and settings; the signature is a serialized StructuredValue, empty if there is none."""

    name: str
    max_size: int
    max_times_sampled: int
    num_deleted_episodes: int
    num_unique_samples: int
    signature: memoryview


def parse_table(view: memoryview) -> Table:
    """Read a PriorityTableCheckpoint."""
    name, signature = "", _NOTHING
    numbers = dict.fromkeys((6, 7, 8, 10), 0)
    for number, content in fields(view):
        if number == 1:
            name = text(content)
        elif number == 9:
            signature = message(content)
        elif number in numbers:
            numbers[number] = int64(content)
    return Table(name, numbers[6], numbers[7], numbers[8], numbers[10], signature)


def parse_item(view: memoryview) -> Item:
    """Read a PrioritizedItem."""
    table, priority, is_old = "", 0.0, False
    columns: list[Column] = []
    for number, content in fields(view):
        if number == 8:
            columns += [_column(column) for inner, column in messages(message(content)) if inner == 1]
        elif number == 2:
            table = text(content)
        elif number == 5:
            priority = double(content)
        elif number in (3, 4):
            is_old = True
    return Item(table, priority, columns, is_old)


def _column(view: memoryview) -> Column:
    slices, squeeze = [], False
    for number, content in fields(view):
        if number == 1:
            slices.append(_slice(message(content)))
        elif number == 2:
            squeeze = bool(uint64(content))
    length = sum(part.length for part in slices)
    if not slices or (squeeze and length != 1):
        raise MalformedError
    return Column(slices, squeeze)


def _slice(view: memoryview) -> Slice:
    key = offset = length = index = 0
    for number, content in fields(view):
        if number == 1:
            key = uint64(content)
        elif number == 2:
            offset = int64(content)
        elif number == 3:
            length = int64(content)
        elif number == 4:
            index = int64(content)
    if not (0 <= offset <= _MAX_INT32 and 0 < length <= _MAX_INT32 and 0 <= index <= _MAX_INT32):
        raise MalformedError
    return Slice(key, offset, length, index)


def parse_chunk_head(view: memoryview) -> ChunkHead:
    """Read the ChunkData message, but for its tensors."""
    key, delta_encoded = 0, False
    episode = start = 0
    sparse = False
    for number, content in fields(view):
        if number == 1:
            key = uint64(content)
        elif number == 4:
            delta_encoded = bool(uint64(content))
        elif number == 2:
            for inner, value in fields(message(content)):
                if inner == 1:
                    episode = uint64(value)
                elif inner == 2:
                    start = int64(value)
                elif inner == 4:
                    sparse = bool(uint64(value))
    if not 0 <= start <= _MAX_INT32:
        raise MalformedError
    return ChunkHead(key, episode, start, sparse, delta_encoded)


def parse_chunk_tensor(view: memoryview, index: int) -> Tensor | None:
    """Return a tensor of a ChunkData message, or None if there are fewer."""
    for number, content in messages(view):
        if number == 5:
            for inner, tensor in messages(content):
                if inner == 1:
                    if index == 0:
                        return _tensor(tensor)
                    index -= 1
    return None


def _tensor(view: memoryview) -> Tensor:
    shape: tuple[int, ...] = ()
    dtype, data = 0, _NOTHING
    for number, content in fields(view):
        if number == 1:
            dtype = int64(content)
        elif number == 2:
            sizes = parse_shape(bytes(message(content)))
            if sizes is None or any(size < 0 for size in sizes):
                raise MalformedError
            shape = sizes
        elif number == 4:
            data = message(content)
    return Tensor(dtype, shape, data)


@functools.lru_cache(maxsize=256)
def parse_shape(data: bytes) -> tuple[int, ...] | None:
    """Read a TensorShapeProto; an unknown size is -1, and an unknown rank None. Most chunks have the same few."""
    sizes = []
    for number, content in fields(memoryview(data)):
        if number == 2:
            sizes.append(sum(int64(size) for inner, size in fields(message(content)) if inner == 1))
        elif number == 3 and uint64(content):
            return None
    if len(sizes) > _MAX_RANK:
        raise MalformedError
    return tuple(sizes)
