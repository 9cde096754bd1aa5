"""From the places of chunks to their decoded bytes: compiled where that is possible and pays, else in Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlbuffers.errors import CorruptDataError
from rlbuffers.stores.base import StoredArray
from rlbuffers.stores.chunk_table import ChunkPlaces, ChunkTable
from rlbuffers.stores.codecs import CodecError, ZlibCodec
from rlbuffers.stores.native import native_decoder

__all__ = ["decode_chunks"]

Array = np.ndarray[Any, Any]


def decode_chunks(array: StoredArray, table: ChunkTable, chunks: Array, target: Array) -> None:
    """Decode chunks, one after the other, into `target`. Threads may do so at once.

    Parameters
    ----------
    array : StoredArray
        What the chunks belong to.
    table : ChunkTable
        Where they are.
    chunks : int64, shape (B,)
        Their numbers, repeats allowed.
    target : uint8, shape (B * array.chunk_bytes,)
        Is filled.

    Raises
    ------
    CorruptDataError
        If a chunk cannot be read, fails its checksum or has another size; names file, array, chunk and offset.
    """
    places = table.places(chunks)
    first_bad = _decode_compiled(array, places, target)
    if first_bad is None:
        _decode_in_python(array, table, chunks, places, target)
    elif first_bad >= 0:
        # Python says what is wrong with it, in the same words on every path.
        bad = slice(first_bad, first_bad + 1)
        _decode_in_python(array, table, chunks[bad], table.places(chunks[bad]), np.empty(array.chunk_bytes, np.uint8))
        raise CorruptDataError(f"{table.place_name(int(chunks[first_bad]))}: could not be decoded at the first attempt")


def _decode_compiled(array: StoredArray, places: ChunkPlaces, target: Array) -> int | None:
    """Return None where this cannot be done, -1, or the number of the first chunk that is not whole."""
    decoder = native_decoder(array.codec, len(places.sizes))
    if decoder is None:
        return None
    direct = places.files.descriptors(places.numbers, places.offsets)
    if direct is None:
        return None
    item_bytes = array.codec.shuffle_bytes if isinstance(array.codec, ZlibCodec) else 1
    return decoder.decode(*direct, places.sizes, target, array.chunk_bytes, item_bytes)


def _decode_in_python(array: StoredArray, table: ChunkTable, chunks: Array, places: ChunkPlaces, target: Array) -> None:
    try:
        array.codec.decode(places.read(), array.chunk_bytes, target.data)
    except CodecError as error:
        raise CorruptDataError(f"{table.place_name(int(chunks[error.index]))}: {error}") from error
