"""A slow, independent writer of Reverb checkpoints, by the .proto files of Reverb and TensorFlow."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from wire import delimited, tfrecord, varint

Array = np.ndarray[Any, Any]
TYPES = {
    "float32": 1,
    "float64": 2,
    "int32": 3,
    "uint8": 4,
    "int16": 5,
    "int8": 6,
    "int64": 9,
    "bool": 10,
    "uint16": 17,
    "float16": 19,
    "uint32": 22,
    "uint64": 23,
}
LAST = "2026-11-23T08:00:00.5+00:00"


def number(field: int, value: int) -> bytes:
    """Return a field of wire type 0."""
    return varint(field * 8) + varint(value)


def snappy(data: bytes) -> bytes:
    """Compress as one literal after the other, and runs as copies."""
    encoded = bytearray(varint(len(data)))
    position = 0
    while position < len(data):
        run = 0
        while position and run < 64 and position + run < len(data) and data[position + run] == data[position - 1]:
            run += 1
        if run >= 4:
            encoded += bytes([(run - 1) << 2 | 2]) + struct.pack("<H", 1)
            position += run
            continue
        piece = data[position : position + 60]
        encoded += bytes([(len(piece) - 1) << 2]) + piece
        position += len(piece)
    return bytes(encoded)


def tensor(rows: Array, *, dtype: int | None = None, content: bytes | None = None) -> bytes:
    shape = b"".join(delimited(2, number(1, size)) for size in rows.shape)
    code = TYPES[rows.dtype.name] if dtype is None else dtype
    return number(1, code) + delimited(2, shape) + delimited(4, snappy(rows.tobytes()) if content is None else content)


def differences(rows: Array) -> Array:
    """Return each row less the one before it, as delta encoding does for integers of two and more dimensions."""
    if rows.ndim < 2 or rows.dtype.kind not in "iu":
        return rows
    unsigned = rows.view(f"u{rows.itemsize}")
    return np.concatenate([unsigned[:1], unsigned[1:] - unsigned[:-1]]).view(rows.dtype)


def chunk(key: int, tensors: Sequence[bytes], *, episode: int = 1, start: int = 0, delta: bool = False) -> bytes:
    length_range = number(1, episode) + number(2, start)
    data = delimited(5, b"".join(delimited(1, encoded) for encoded in tensors))
    return number(1, key) + delimited(2, length_range) + (number(4, 1) if delta else b"") + data


def item(
    table: str, columns: Iterable[tuple[Sequence[tuple[int, int, int, int]], bool]], priority: float = 1.0
) -> bytes:
    """Encode an item; a column is its slices (chunk, offset, length, tensor) and whether it is squeezed."""
    encoded = b""
    for slices, squeezed in columns:
        parts = [
            delimited(1, number(1, key) + number(2, offset) + number(3, length) + number(4, index))
            for key, offset, length, index in slices
        ]
        encoded += delimited(1, b"".join(parts) + (number(2, 1) if squeezed else b""))
    return (
        number(1, 77)
        + delimited(2, table.encode())
        + varint(5 * 8 + 1)
        + struct.pack("<d", priority)
        + delimited(8, encoded)
    )


def signature(names: Any) -> bytes:
    """Encode a StructuredValue: a dict, a tuple, a list of pairs (a named tuple), or None for a tensor."""
    if names is None:
        return delimited(33, number(3, 1))
    if isinstance(names, Mapping):
        entries = [delimited(1, name.encode()) + delimited(2, signature(inner)) for name, inner in names.items()]
        return delimited(53, b"".join(delimited(1, entry) for entry in entries))
    if isinstance(names, tuple):
        return delimited(52, b"".join(delimited(1, signature(inner)) for inner in names))
    pairs = [delimited(1, name.encode()) + delimited(2, signature(inner)) for name, inner in names]
    return delimited(54, delimited(1, b"Name") + b"".join(delimited(2, pair) for pair in pairs))


def table(name: str, names: Any = (), *, max_size: int = 100) -> bytes:
    described = delimited(9, signature(names)) if names != () else b""
    return delimited(1, name.encode()) + number(6, max_size) + described


def write_records(path: Path, records: Iterable[bytes]) -> None:
    path.write_bytes(zlib.compress(b"".join(tfrecord(record) for record in records)))


def write_checkpoint(
    path: Path, tables: Iterable[bytes], items: Iterable[bytes], chunks: Iterable[bytes], *, done: bool = True
) -> Path:
    """Write a checkpoint into ``path / LAST`` and return that directory."""
    directory = path / LAST
    directory.mkdir(parents=True)
    write_records(directory / "tables.tfrecord", tables)
    write_records(directory / "items.tfrecord", items)
    write_records(directory / "chunks.tfrecord", chunks)
    if done:
        (directory / "DONE").touch()
    return directory


def write_steps(
    path: Path,
    columns: Mapping[str, Array],
    windows: Iterable[tuple[int, int]],
    *,
    squeezed: Iterable[str] = (),
    shorter: Iterable[str] = (),
    chunk_length: int = 2,
    episodes: Sequence[int] = (),
    delta: bool = False,
) -> Path:
    """Write a table ``t`` of items that are rows `start` to `stop` of the columns.

    Parameters
    ----------
    squeezed : names of columns of which an item has its first row only, without an axis of time
    shorter : names of columns of which an item has one row less
    episodes : of each row; chunks do not go across episodes
    """
    names = sorted(columns)
    count = len(columns[names[0]])
    episodes = episodes or [1] * count
    bounds = [0]
    for row in range(1, count + 1):
        if row == count or row - bounds[-1] == chunk_length or episodes[row] != episodes[row - 1]:
            bounds.append(row)
    chunks, place = [], {}
    for key, (start, stop) in enumerate(itertools.pairwise(bounds), 1000):
        rows = [columns[name][start:stop] for name in names]
        first = start - episodes.index(episodes[start])
        encoded = [tensor(differences(part) if delta else part) for part in rows]
        chunks.append(chunk(key, encoded, episode=episodes[start], start=first, delta=delta))
        place |= {row: (key, row - start) for row in range(start, stop)}
    items = []
    for start, stop in windows:
        parts = []
        for index, name in enumerate(names):
            last = start + 1 if name in squeezed else stop - (name in shorter)
            slices: list[tuple[int, int, int, int]] = []
            for row in range(start, last):
                key, offset = place[row]
                if slices and slices[-1][0] == key:
                    slices[-1] = (key, slices[-1][1], slices[-1][2] + 1, index)
                else:
                    slices.append((key, offset, 1, index))
            parts.append((slices, name in squeezed))
        items.append(item("t", parts, priority=1.0 + len(items)))
    return write_checkpoint(path, [table("t", dict.fromkeys(names))], items, reversed(chunks))
