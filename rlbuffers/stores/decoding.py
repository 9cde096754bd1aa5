"""From the places of chunks to their decoded bytes: compiled where that is possible and pays, else in Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlbuffers.errors import CorruptDataError
from rlbuffers.stores.base import StoredArray
from rlbuffers.stores.chunk_table import ChunkPlaces, ChunkTable
from rlbuffers.stores.codecs import CodecError, ZlibCodec
from rlbuffers.stores.native import NativeDecoder, native_decoder

__all__ = ["ChunkDecoder"]

Array = np.ndarray[Any, Any]


class ChunkDecoder:
    """Decodes chunks of one array. Threads may do so at once.

    Parameters
    ----------
    array : StoredArray
        What the chunks belong to.
    """

    def __init__(self, array: StoredArray) -> None:
        self._array = array
        self._item_bytes = array.codec.shuffle_bytes if isinstance(array.codec, ZlibCodec) else 1
        self._chunk_bytes = array.chunk_bytes
        self._native: NativeDecoder | None = None

    def decode(self, table: ChunkTable, chunks: Array, target: Array) -> None:
        """Decode chunks, one after the other, into `target`.

        Parameters
        ----------
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
        first_bad = self._decode_compiled(places, target)
        if first_bad is None:
            self._decode_in_python(table, chunks, places, target)
        elif first_bad >= 0:
            # Python says what is wrong with it, in the same words on every path.
            bad = chunks[first_bad : first_bad + 1]
            self._decode_in_python(table, bad, table.places(bad), np.empty(self._chunk_bytes, np.uint8))
            raise CorruptDataError(f"{table.place_name(int(bad[0]))}: could not be decoded at the first attempt")

    def _decode_compiled(self, places: ChunkPlaces, target: Array) -> int | None:
        """Return None where this cannot be done, -1, or the number of the first chunk that is not whole."""
        if self._native is None:
            self._native = native_decoder(self._array.codec, len(places.sizes))
            if self._native is None:
                return None
        direct = places.files.descriptors(places.numbers, places.offsets)
        if direct is None:
            return None
        return self._native.decode(
            *direct, places.sizes, target, self._chunk_bytes, self._item_bytes, largest=places.largest
        )

    def _decode_in_python(self, table: ChunkTable, chunks: Array, places: ChunkPlaces, target: Array) -> None:
        try:
            self._array.codec.decode(places.read(), self._chunk_bytes, target.data)
        except CodecError as error:
            raise CorruptDataError(f"{table.place_name(int(chunks[error.index]))}: {error}") from error
