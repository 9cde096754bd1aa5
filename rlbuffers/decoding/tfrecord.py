"""TFRecord framing: length, masked CRC-32C of the length, data, masked CRC-32C of the data.

The format is described in TensorFlow's ``core/lib/io/record_writer.h``: every length is a
little-endian uint64 and every checksum a CRC-32C, rotated right by 15 bits and shifted by a constant.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from google_crc32c import value as crc32c

from rlbuffers.decoding.claims import FREE_BYTES, require_room
from rlbuffers.errors import CorruptDataError

__all__ = ["RecordBatch", "masked_crc32c", "read_records"]

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")
_LENGTH_BYTES = 8
_MASK_DELTA = 0xA282EAD8
# The longest message that Protocol Buffers know.
_MAX_RECORD_BYTES = (1 << 31) - 1
# A batch of records is handed on when it has grown so large, however few they are.
_MAX_BATCH_BYTES = 32 << 20


@dataclass(frozen=True)
class RecordBatch:
    """Consecutive records of one file, their data checksums not yet verified.

    Parameters
    ----------
    data : bytes
        The records as framed in the file.
    starts, stops : int64, shape (B,)
        Where each record's data begins and ends in `data`; its checksum follows.
    first_record : int
        Number of the first record in the file, counted from 0.
    most : int
        How many bytes the values of one record may take in memory; see `rlbuffers.decoding.claims.most_bytes`.
    """

    data: bytes
    starts: np.ndarray[tuple[int], np.dtype[np.int64]]
    stops: np.ndarray[tuple[int], np.dtype[np.int64]]
    first_record: int
    most: int = FREE_BYTES

    def __len__(self) -> int:
        return len(self.starts)

    def verify(self, where: str) -> None:
        """Check the checksum of every record's data.

        Raises
        ------
        CorruptDataError
            Naming the first record that fails.
        """
        view = np.frombuffer(self.data, np.uint8)
        for number, (start, stop) in enumerate(zip(self.starts.tolist(), self.stops.tolist(), strict=True)):
            if _masked(view[start:stop]) != _FOOTER.unpack_from(self.data, stop)[0]:
                raise CorruptDataError(
                    f"{where}: record {self.first_record + number}: its CRC-32C does not fit; the file is damaged"
                )


def masked_crc32c(data: bytes | memoryview) -> int:
    """Return the masked CRC-32C of TFRecord files."""
    return _masked(bytes(data))


def _masked(data: bytes | np.ndarray[Any, Any]) -> int:
    """Return the checksum of bytes that nobody changes, which are not copied for it."""
    checksum: int = crc32c(data)
    return (((checksum >> 15) | (checksum << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def read_records(
    pieces: Iterable[bytes], where: str, batch_records: int, limit: int | None = None, *, most: int = FREE_BYTES
) -> Iterator[RecordBatch]:
    """Cut a byte stream into batches of records.

    Lengths are verified here, since finding the next record depends on them; the data are verified
    by :meth:`RecordBatch.verify`, which other processes can do.

    Parameters
    ----------
    pieces : iterable of bytes
        The uncompressed stream, cut anywhere.
    where : str
        Name of the file, for messages.
    batch_records : int
        Records in a batch; the last one may hold fewer, and so may batches of large records.
    limit : int, optional
        Stop after that many records.
    most : int
        How long a record may be, in bytes; see `rlbuffers.decoding.claims.most_bytes`.

    Raises
    ------
    CorruptDataError
        If a length fails its checksum, is implausible, or the stream ends within a record.
    """
    pending = bytearray()
    starts: list[int] = []
    stops: list[int] = []
    position = 0
    total = 0
    for piece in pieces:
        pending += piece
        while limit is None or total < limit:
            if len(pending) - position < _HEADER.size:
                break
            length = _record_length(pending, position, where, total, most)
            start = position + _HEADER.size
            if len(pending) < start + length + _FOOTER.size:
                break
            starts.append(start)
            stops.append(start + length)
            position = start + length + _FOOTER.size
            total += 1
            if len(starts) == batch_records or position >= _MAX_BATCH_BYTES:
                yield _batch(pending, position, starts, stops, total, most)
                del pending[:position]
                starts, stops, position = [], [], 0
        if limit is not None and total >= limit:
            break
    else:
        if position != len(pending):
            raise CorruptDataError(f"{where}: cut short; the file ends within record {total}")
    if starts:
        yield _batch(pending, position, starts, stops, total, most)


def _record_length(pending: bytearray, position: int, where: str, number: int, most: int) -> int:
    length, checksum = _HEADER.unpack_from(pending, position)
    if masked_crc32c(bytes(pending[position : position + _LENGTH_BYTES])) != checksum:
        raise CorruptDataError(
            f"{where}: record {number}: the CRC-32C of its length does not fit; not TFRecord, or damaged"
        )
    require_room(length, min(most, _MAX_RECORD_BYTES), f"{where}: record {number}")
    return int(length)


def _batch(pending: bytearray, end: int, starts: list[int], stops: list[int], total: int, most: int) -> RecordBatch:
    data = bytes(memoryview(pending)[:end])
    return RecordBatch(data, np.array(starts, np.int64), np.array(stops, np.int64), total - len(starts), most)
