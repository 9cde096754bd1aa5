"""Reading a GZIP file (RFC 1952) as a stream that never trusts the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from rlbuffers.decoding.claims import FREE_STREAM_BYTES, STREAM_GROWTH, most_bytes, require_room
from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.local_inputs import require_regular

__all__ = ["gunzip"]

_MAGIC = b"\x1f\x8b"
_READ_BYTES = 1 << 18
# More than a compressed block can become at once would let a small file fill the memory.
_MAX_PIECE_BYTES = 1 << 22
_GZIP_WINDOW = 16 + 15


def gunzip(path: Path, on_read: Callable[[bytes], None] | None = None) -> Iterator[bytes]:
    """Yield the decompressed bytes of a GZIP file in pieces of at most 4 MiB.

    Parameters
    ----------
    path : Path
        The file; several members one after the other are read as one stream.
    on_read : callable, optional
        Is given the compressed bytes as they are read, for hashing and progress.

    Raises
    ------
    BufferNotFoundError
        If there is no such file.
    FormatError
        If the file is not GZIP.
    CorruptDataError
        If it is cut short, followed by other bytes, fails its CRC-32 or length, or becomes implausibly much
        (`rlbuffers.decoding.claims.STREAM_GROWTH`).
    """
    from isal import isal_zlib

    most, given = most_bytes(require_regular(path), STREAM_GROWTH, FREE_STREAM_BYTES), 0
    with path.open("rb") as file:
        damaged: Any = isal_zlib.error  # its stub does not know that this is an exception
        pending = b""
        members = 0
        while True:
            pending = pending or _read(file, on_read)
            if not pending:
                break
            if len(pending) < len(_MAGIC):
                pending += _read(file, on_read)
            if not pending.startswith(_MAGIC):
                if members:
                    raise CorruptDataError(f"{path}: bytes that are not GZIP follow the end of the stream")
                raise FormatError(f"{path}: not a GZIP file (its first bytes are {pending[:2].hex() or 'missing'})")
            members += 1
            inflater = isal_zlib.decompressobj(_GZIP_WINDOW)
            while not inflater.eof:
                try:
                    piece = inflater.decompress(pending, _MAX_PIECE_BYTES)
                except damaged as error:
                    raise CorruptDataError(
                        f"{path}: the GZIP stream is damaged near byte {file.tell()}: {error}"
                    ) from error
                if piece:
                    given += len(piece)
                    require_room(given, most, str(path))
                    yield piece
                pending = inflater.unconsumed_tail
                if not pending and not inflater.eof:
                    pending = _read(file, on_read)
                    if not pending:
                        raise CorruptDataError(
                            f"{path}: cut short; the GZIP stream has no end after {file.tell()} bytes"
                        )
            pending = inflater.unused_data
        if not members:
            raise FormatError(f"{path}: the file is empty")


def _read(file: BinaryIO, on_read: Callable[[bytes], None] | None) -> bytes:
    data = file.read(_READ_BYTES)
    if data and on_read is not None:
        on_read(data)
    return data
