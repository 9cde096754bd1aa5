"""How many bytes a compressed chunk of Zarr version 2 becomes, found without holding them.

numcodecs takes what a chunk announces, or becomes, without asking what the array has room for. Most of its codecs go on
through all streams that stand one behind the other, so that the size of the first says little.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable
from typing import Any

from rlbuffers.errors import CorruptDataError

__all__ = ["COMPRESSORS", "MAX_STREAMS", "require_chunk_fits"]

MAX_STREAMS = 64
"""How many streams or frames a chunk may consist of: writers make one; each further one costs a copy of the rest."""
_PART_BYTES = 1 << 20
_BLOSC_HEADER, _LZ4_HEADER = 16, 4
_GZIP_WINDOW = 16 + 15
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPED = range(0x184D2A50, 0x184D2A60)
_ZSTD_RLE = 1


def require_chunk_fits(data: bytes, codec: Any, room: int, where: str) -> None:
    """Refuse a chunk that becomes larger than the array has room for.

    Parameters
    ----------
    data : bytes
        As stored.
    codec : numcodecs.abc.Codec
        Of `COMPRESSORS`.
    room : int
        How many bytes the chunk may become.
    where : str
        For messages.

    Raises
    ------
    CorruptDataError
        If it becomes more, or is cut short within its header, or consists of more streams than any writer makes.
    """
    try:
        size = _SIZES[codec.codec_id](data, room, codec)
    except (struct.error, IndexError) as error:
        raise CorruptDataError(f"{where}: damaged: a chunk of {len(data):,} bytes, less than its header") from error
    except _TooManyStreamsError as error:
        raise CorruptDataError(f"{where}: expected a chunk of one stream, found more than {MAX_STREAMS}") from error
    if size > room:
        raise CorruptDataError(
            f"{where}: the chunk becomes {size:,} bytes or more, and the array has room for {room:,}"
        )


class _TooManyStreamsError(Exception):
    pass


def _blosc_size(data: bytes, room: int, codec: Any) -> int:
    return int(struct.unpack_from(f"<I{_BLOSC_HEADER - 8}x", data, 4)[0])


def _lz4_size(data: bytes, room: int, codec: Any) -> int:
    return int(struct.unpack_from("<I", data)[0])


def _zstd_size(data: bytes, room: int, codec: Any) -> int:
    sizes = _zstd_frames(data)
    if None not in sizes:
        return sum(size or 0 for size in sizes)
    import zstandard

    reader = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
    total = 0
    try:
        while total <= room and (part := reader.read(_PART_BYTES)):
            total += len(part)
    except zstandard.ZstdError:
        pass  # the codec says what is damaged
    return total


def _zstd_frames(data: bytes) -> list[int | None]:
    """Return the size that the header of each frame states (RFC 8878, 3.1.1), None where it states none."""
    sizes: list[int | None] = []
    place = 0
    while place < len(data):
        if len(sizes) >= MAX_STREAMS:
            raise _TooManyStreamsError
        if struct.unpack_from("<I", data, place)[0] in _ZSTD_SKIPPED:
            sizes.append(0)
            place += 8 + int(struct.unpack_from("<I", data, place + 4)[0])
            continue
        if not data.startswith(_ZSTD_MAGIC, place):
            break
        flags = data[place + 4]
        is_single = bool(flags >> 5 & 1)
        place += 5 + (not is_single) + (0, 1, 2, 4)[flags & 3]
        width = (int(is_single), 2, 4, 8)[flags >> 6]
        stated = int.from_bytes(data[place : place + width], "little") + (256 if width == 2 else 0)
        sizes.append(stated if width else None)
        place += width
        is_last = False
        while not is_last:
            block = int.from_bytes(data[place : place + 3], "little")
            if place + 3 > len(data):
                raise IndexError
            is_last = bool(block & 1)
            place += 3 + (1 if block >> 1 & 3 == _ZSTD_RLE else block >> 3)
        place += 4 * (flags >> 2 & 1)
    return sizes


def _streamed_size(make: Callable[[Any], Any]) -> Callable[[bytes, int, Any], int]:
    """Return what counts the bytes that streams become; the codec says what is damaged in them."""

    def size(data: bytes, room: int, codec: Any) -> int:
        total = streams = 0
        while data and total <= room:
            streams += 1
            if streams > MAX_STREAMS:
                raise _TooManyStreamsError
            try:
                inflater = make(codec)
                while total <= room and not inflater.eof:
                    part = inflater.decompress(data, _PART_BYTES)
                    data = getattr(inflater, "unconsumed_tail", b"")
                    if not part and not data:
                        return total  # cut short
                    total += len(part)
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
                return total
            data = inflater.unused_data.lstrip(b"\0")
        return total

    return size


def _lzma_decompressor(codec: Any) -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(format=codec.format, filters=codec.filters)


_SIZES: dict[str, Callable[[bytes, int, Any], int]] = {
    "blosc": _blosc_size,
    "lz4": _lz4_size,
    "zstd": _zstd_size,
    "zlib": _streamed_size(lambda codec: zlib.decompressobj()),
    "gzip": _streamed_size(lambda codec: zlib.decompressobj(_GZIP_WINDOW)),
    "bz2": _streamed_size(lambda codec: bz2.BZ2Decompressor()),
    "lzma": _streamed_size(_lzma_decompressor),
}
COMPRESSORS = tuple(_SIZES)
"""What is decoded without running anything; numcodecs has pickle, too."""
