"""Slow, independent writers of the formats that are decoded: TFRecord, tf.train.Example, PNG.

Each follows its specification literally and shares no code with the package, so a mistake would have to be made
twice to go unnoticed.
"""

from __future__ import annotations

import functools
import gzip
import itertools
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

PNG_SIGNATURE = bytes([137, 80, 78, 71, 13, 10, 26, 10])
LIST_NUMBERS = {"bytes": 1, "float": 2, "int64": 3}


def shifted(register: int) -> int:
    """Move a byte through the register of CRC-32C, bit by bit (RFC 3720, appendix B.4)."""
    for _ in range(8):
        register = (register >> 1) ^ (0x82F63B78 if register & 1 else 0)
    return register


SHIFTED = [shifted(byte) for byte in range(256)]


def crc32c(data: bytes) -> int:
    register = 0xFFFFFFFF
    for byte in data:
        register = (register >> 8) ^ SHIFTED[(register ^ byte) & 255]
    return register ^ 0xFFFFFFFF


def masked(checksum: int) -> int:
    rotated = ((checksum >> 15) | (checksum << 17)) & 0xFFFFFFFF
    return (rotated + 0xA282EAD8) % 2**32


@functools.cache
def tfrecord(record: bytes) -> bytes:
    """Frame one record as TensorFlow's ``record_writer.h`` says."""
    length = struct.pack("<Q", len(record))
    return length + struct.pack("<I", masked(crc32c(length))) + record + struct.pack("<I", masked(crc32c(record)))


def varint(number: int) -> bytes:
    """Base-128 varint; negative numbers are those of 64 bits."""
    number %= 2**64
    encoded = bytearray()
    while number >= 128:
        encoded.append(number % 128 + 128)
        number //= 128
    return bytes([*encoded, number])


def delimited(number: int, payload: bytes) -> bytes:
    """Return a field of wire type 2."""
    return varint(number * 8 + 2) + varint(len(payload)) + payload


def feature(kind: str, values: Sequence[bytes | float | int], *, packed: bool = True) -> bytes:
    """Encode a ``Feature``: one list of one kind."""
    if kind == "bytes":
        content = b"".join(delimited(1, value) for value in values)
    elif kind == "float":
        numbers = [struct.pack("<f", value) for value in values]
        content = delimited(1, b"".join(numbers)) if packed else b"".join(varint(8 + 5) + number for number in numbers)
    else:
        numbers = [varint(value) for value in values]
        content = delimited(1, b"".join(numbers)) if packed else b"".join(varint(8) + number for number in numbers)
    return delimited(LIST_NUMBERS[kind], content)


def entry(name: str, encoded_feature: bytes) -> bytes:
    """Encode one entry of the map of features, field number and all."""
    return delimited(1, delimited(1, name.encode()) + delimited(2, encoded_feature))


def example(features: Mapping[str, bytes]) -> bytes:
    """Encode an ``Example`` of encoded features."""
    return delimited(1, b"".join(entry(name, encoded) for name, encoded in features.items()))


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int, *, depth: int = 8, colour: int = 0, interlace: int = 0) -> bytes:
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def filtered(image: np.ndarray, filters: Iterable[int]) -> bytes:
    """Apply the row filters of the PNG specification, section 9.2, byte by byte."""
    return _filtered(image.tobytes(), image.shape[1], tuple(filters))


@functools.cache
def _filtered(image: bytes, width: int, filters: tuple[int, ...]) -> bytes:
    rows = [list(image[start : start + width]) for start in range(0, len(image), width)]
    encoded = bytearray()
    for y, (row, kind) in enumerate(zip(rows, filters, strict=True)):
        above = rows[y - 1] if y else [0] * len(row)
        encoded.append(kind)
        for x, value in enumerate(row):
            a, b, c = (row[x - 1] if x else 0), above[x], (above[x - 1] if x else 0)
            predicted = [0, a, b, (a + b) // 2, paeth(a, b, c)][kind if kind < 5 else 0]
            encoded.append((value - predicted) % 256)
    return bytes(encoded)


def paeth(a: int, b: int, c: int) -> int:
    estimate = a + b - c
    distances = [abs(estimate - a), abs(estimate - b), abs(estimate - c)]
    return [a, b, c][distances.index(min(distances))]


def png(
    image: np.ndarray,
    filters: Iterable[int] | None = None,
    *,
    pieces: int = 1,
    before: bytes = b"",
    level: int = 6,
) -> bytes:
    """Encode an 8-bit gray image; `pieces` IDAT chunks, `before` the first of them other chunks."""
    height, width = image.shape
    data = zlib.compress(filtered(image, filters if filters is not None else [0] * height), level)
    cuts = [len(data) * piece // pieces for piece in range(pieces + 1)]
    image_data = b"".join(png_chunk(b"IDAT", data[start:stop]) for start, stop in itertools.pairwise(cuts))
    return PNG_SIGNATURE + png_header(width, height) + before + image_data + png_chunk(b"IEND", b"")


def transition(stacks: tuple[np.ndarray, np.ndarray], **numbers: float) -> bytes:
    """Encode a transition as RL Unplugged's raw Atari shards do; keywords replace the default numbers."""
    facts = {"a_t": 1, "a_tp1": 2, "r_t": 0.0, "d_t": 1.0, "episode_id": 3, "episode_return": 4.0, **numbers}
    features = {name: feature("int64" if isinstance(value, int) else "float", [value]) for name, value in facts.items()}
    for name, stack in zip(("o_t", "o_tp1"), stacks, strict=True):
        features[name] = feature("bytes", [png(frame) for frame in stack])
    return example(features)


def write_shard(path: Path, records: Iterable[bytes]) -> Path:
    """Write a GZIP TFRecord file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(b"".join(tfrecord(record) for record in records)))
    return path
