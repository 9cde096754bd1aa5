"""Reading a ZLIB file (RFC 1950), such as TensorFlow writes, as a stream that never trusts the file."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from rlbuffers.decoding.claims import FREE_STREAM_BYTES, STREAM_GROWTH, most_bytes, require_room
from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.local_inputs import require_regular

__all__ = ["inflate"]

_READ_BYTES = 1 << 18
# More than a compressed block can become at once would let a small file fill the memory.
_MAX_PIECE_BYTES = 1 << 22
_DEFLATE = 8


def inflate(path: Path, on_read: Callable[[bytes], None] | None = None) -> Iterator[bytes]:
    """Yield the decompressed bytes of a ZLIB file in pieces of at most 4 MiB.

    Parameters
    ----------
    path : Path
        The file: one stream.
    on_read : callable, optional
        Is given the compressed bytes as they are read, for hashing and progress.

    Raises
    ------
    BufferNotFoundError
        If there is no such file.
    FormatError
        If the file is empty, or not ZLIB.
    CorruptDataError
        If it is cut short, followed by other bytes, fails its Adler-32, or becomes implausibly much
        (`rlbuffers.decoding.claims.STREAM_GROWTH`).
    """
    inflater = zlib.decompressobj()
    most, given = most_bytes(require_regular(path), STREAM_GROWTH, FREE_STREAM_BYTES), 0
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            if file.tell() == len(data) and not _is_header(data):
                raise FormatError(f"{path}: not a ZLIB file (its first bytes are {data[:2].hex()})")
            if on_read is not None:
                on_read(data)
            try:
                for piece in _pieces(inflater, data):
                    given += len(piece)
                    require_room(given, most, str(path))
                    yield piece
            except zlib.error as error:
                raise CorruptDataError(
                    f"{path}: the ZLIB stream is damaged near byte {file.tell()}: {error}"
                ) from error
            if inflater.unused_data:
                raise CorruptDataError(f"{path}: bytes that are not ZLIB follow the end of the stream")
        if not file.tell():
            raise FormatError(f"{path}: the file is empty")
    if not inflater.eof:
        raise CorruptDataError(f"{path}: cut short; the ZLIB stream has no end")


def _is_header(data: bytes) -> bool:
    """Whether the first two bytes name the method "deflate" and hold the check that RFC 1950 asks for."""
    return data[0] & 15 == _DEFLATE and int.from_bytes(data[:2], "big") % 31 == 0


def _pieces(inflater: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """Yield what compressed bytes become; a full piece may have more behind it although all bytes are used up."""
    full = True
    while (data or full) and not inflater.unused_data:
        piece = inflater.decompress(data, _MAX_PIECE_BYTES)
        if piece:
            yield piece
        data = inflater.unconsumed_tail
        full = len(piece) == _MAX_PIECE_BYTES
