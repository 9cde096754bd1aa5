"""The chunks of a checkpoint, fetched by key.

Their file is one compressed stream in no particular order, while items refer to chunks at random. The chunks that a
table needs are copied, still compressed by Snappy, into a temporary file (in memory while they are few), from which
each is read and decoded when an item asks for it. Neighbouring items often share chunks, so the last ones are kept.
"""

from __future__ import annotations

import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.decoding.claims import IMAGE_GROWTH, most_bytes
from rlbuffers.decoding.protobuf_wire import MalformedError
from rlbuffers.errors import CorruptDataError, RlbuffersError
from rlbuffers.local_inputs import require_regular
from rlbuffers.sources.reverb.directory import CHUNKS, read_messages
from rlbuffers.sources.reverb.protos import ChunkHead, Tensor, parse_chunk_head, parse_chunk_tensor
from rlbuffers.sources.reverb.tensors import decode_tensor

__all__ = ["Chunks"]

Array = np.ndarray[Any, Any]
_IN_MEMORY_BYTES = 64 << 20
_KEPT_BYTES = 32 << 20
# What an array takes beside its numbers; chunks may be as small as one step.
_ARRAY_BYTES = 512


class Chunks:
    """The chunks that some items refer to.

    Parameters
    ----------
    checkpoint : Path
        Directory of the checkpoint.
    keys : uint64, shape (K,)
        The keys that are needed, ascending.
    on_read : callable, optional
        Is given the bytes of the file as they are read.

    Attributes
    ----------
    episodes : uint64, shape (K,)
        The writer's number of the episode that each chunk is of.
    first_steps : int64, shape (K,)
        Number of a chunk's first step in that episode, or -1 if its steps are not consecutive.
    most : int
        How many bytes a tensor of a chunk, or the rows of an item, may take in memory.

    Raises
    ------
    FormatError, CorruptDataError
        If the file is not of chunks or damaged, or a chunk is missing.
    """

    def __init__(self, checkpoint: Path, keys: Array, on_read: Callable[[bytes], None] | None = None) -> None:
        self._path = checkpoint / CHUNKS
        self.most = most_bytes(require_regular(self._path), IMAGE_GROWTH)
        self._keys = keys
        self.episodes = np.zeros(len(keys), np.uint64)
        self.first_steps = np.zeros(len(keys), np.int64)
        self._delta_encoded = np.zeros(len(keys), np.bool_)
        self._starts = np.full(len(keys), -1, np.int64)
        self._sizes = np.zeros(len(keys), np.int64)
        self._copies = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 - open as long as this object
        weakref.finalize(self, self._copies.close)
        self._kept: OrderedDict[tuple[int, int], Array] = OrderedDict()
        self._kept_bytes = 0
        self._copy(on_read)
        missing = np.flatnonzero(self._starts < 0)
        if len(missing):
            raise CorruptDataError(
                f"{self._path}: {len(missing):,} of {len(keys):,} chunks that items refer to are missing, the first "
                f"with the key {keys[missing[0]]}"
            )

    def _copy(self, on_read: Callable[[bytes], None] | None) -> None:
        position = 0
        places = {key: place for place, key in enumerate(self._keys.tolist())}
        for number, record in read_messages(self._path, on_read):
            where = f"{self._path}: record {number}"
            try:
                head = parse_chunk_head(record)
            except MalformedError as error:
                raise CorruptDataError(f"{where}: not a Reverb chunk") from error
            place = places.get(head.key)
            if place is None or self._starts[place] >= 0:
                continue  # of another table, or written twice, as chunks are that reached the server twice
            try:
                self._copies.write(record)
            except OSError as error:
                raise RlbuffersError(
                    f"{self._path}: cannot copy it to {tempfile.gettempdir()}: {error}. Set TMPDIR to a larger place"
                ) from error
            self._starts[place], self._sizes[place] = position, len(record)
            self._describe(place, head)
            position += len(record)

    def _describe(self, place: int, head: ChunkHead) -> None:
        self.episodes[place] = head.episode
        self.first_steps[place] = -1 if head.sparse else head.start
        self._delta_encoded[place] = head.delta_encoded

    def name(self, place: int) -> str:
        """Return a chunk's name for messages, by its place in the ascending order of the keys."""
        return f"{self._path}: chunk {self._keys[place]}"

    def tensor(self, place: int, index: int) -> Tensor:
        """Return a tensor of a chunk, not decoded.

        Raises
        ------
        CorruptDataError
            If the chunk is damaged, or has fewer tensors.
        """
        self._copies.seek(self._starts[place])
        record = memoryview(self._copies.read(self._sizes[place]))
        try:
            tensor = parse_chunk_tensor(record, index)
        except MalformedError as error:
            raise CorruptDataError(f"{self.name(place)}: not a Reverb chunk") from error
        if tensor is None:
            raise CorruptDataError(f"{self.name(place)}: has no tensor {index}, to which an item refers")
        return tensor

    def rows(self, place: int, index: int) -> Array:
        """Return the rows of a tensor of a chunk; to be read only.

        Raises
        ------
        FormatError, CorruptDataError
            If the tensor is damaged, or of a type that cannot be stored.
        """
        found = self._kept.get((place, index))
        if found is not None:
            self._kept.move_to_end((place, index))
            return found
        rows = decode_tensor(
            self.tensor(place, index),
            self.name(place),
            delta_encoded=bool(self._delta_encoded[place]),
            most=self.most,
        )
        self._kept[place, index] = rows
        self._kept_bytes += rows.nbytes + _ARRAY_BYTES
        while self._kept_bytes > _KEPT_BYTES and len(self._kept) > 1:
            self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes + _ARRAY_BYTES
        return rows
