"""How large the buffers of an Arrow file become, before pyarrow decompresses them.

A compressed buffer begins with its size (Arrow's columnar format, "Compression"); where each buffer lies stands in the
message before it, a flatbuffer: offsets to tables, whose fields are found through a table of offsets of their own.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from rlbuffers.decoding.claims import FREE_BYTES, IMAGE_GROWTH, most_bytes, require_room
from rlbuffers.errors import CorruptDataError

__all__ = ["require_honest_buffers"]

_MAGIC_BYTES = 8  # of a file, before the stream of messages
_SIZE_BYTES = 8
# Fields by their place: Message.header, DictionaryBatch.data, RecordBatch.buffers and RecordBatch.compression.
_HEADER, _DATA, _BUFFERS, _COMPRESSION = 2, 1, 2, 3


def require_honest_buffers(source: Any, path: Path, pyarrow: Any) -> None:
    """Refuse a file of which a batch of rows would become larger than it can honestly hold.

    Parameters
    ----------
    source : pyarrow.NativeFile
        The open file, of the format with a footer.
    path : Path
        Where it is.
    pyarrow : module
        With its part ``ipc`` imported.

    Raises
    ------
    CorruptDataError
        See `rlbuffers.decoding.claims.require_room`; also if the messages cannot be understood.
    """
    most = most_bytes(path, IMAGE_GROWTH, 2 * FREE_BYTES)
    source.seek(_MAGIC_BYTES)
    for message in pyarrow.ipc.MessageReader.open_stream(source):
        if message.type in ("record batch", "dictionary"):
            try:
                size = _decompressed(bytes(message.metadata), memoryview(message.body), message.type == "dictionary")
            except (struct.error, IndexError) as error:
                raise CorruptDataError(f"{path}: damaged: a message of Arrow cannot be understood") from error
            require_room(size, most, f"{path}: a batch of rows")
    source.seek(0)


def _decompressed(metadata: bytes, body: memoryview, is_dictionary: bool) -> int:
    """Return how many bytes the buffers of a message say that they become; 0 where nothing is compressed."""
    table = _table(metadata, _uint32(metadata, 0), _HEADER)
    if is_dictionary and table is not None:
        table = _table(metadata, table, _DATA)
    if table is None or _table(metadata, table, _COMPRESSION) is None:
        return 0
    vector = _table(metadata, table, _BUFFERS)
    if vector is None:
        return 0
    total = 0
    for number in range(min(_uint32(metadata, vector), len(metadata) // 16)):
        offset, length = struct.unpack_from("<qq", metadata, vector + 4 + 16 * number)
        if length >= _SIZE_BYTES and offset >= 0:
            total += max(struct.unpack_from("<q", body, offset)[0], 0)  # -1 says that it is not compressed
    return total


def _uint32(data: bytes, place: int) -> int:
    return int(struct.unpack_from("<I", data, place)[0])


def _table(data: bytes, place: int, field: int) -> int | None:
    """Return where the table or vector in a field of the table at a place begins; None if it is absent."""
    fields = place - int(struct.unpack_from("<i", data, place)[0])
    size = int(struct.unpack_from("<H", data, fields)[0])
    if 4 + 2 * field >= size:
        return None
    offset = int(struct.unpack_from("<H", data, fields + 4 + 2 * field)[0])
    return place + offset + _uint32(data, place + offset) if offset else None
