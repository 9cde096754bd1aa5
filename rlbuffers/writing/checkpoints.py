"""What a checkpoint notes of a buffer that is being written; see `rlbuffers.writing.journal` for where."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rlbuffers.metadata import written_by
from rlbuffers.schema import BufferSpec
from rlbuffers.stores.base import StoreWriter
from rlbuffers.writing.array_writer import ArrayWriter
from rlbuffers.writing.journal import JournalWriter, Record

__all__ = ["JOURNAL_VERSION", "Checkpoints"]

JOURNAL_VERSION = 1


class Checkpoints:
    """Takes the checkpoints of one buffer.

    Parameters
    ----------
    journal : JournalWriter
        Where they go.
    container : str
        Name of the store's format.
    spec : BufferSpec
        Columns of the buffer.
    store : StoreWriter
        Tells where chunks are.
    arrays : mapping of name to ArrayWriter
        Tell what is pending.
    """

    def __init__(
        self,
        journal: JournalWriter,
        container: str,
        spec: BufferSpec,
        store: StoreWriter,
        arrays: Mapping[str, ArrayWriter],
    ) -> None:
        self._journal = journal
        self._container = container
        self._spec = spec
        self._store = store
        self._arrays = arrays
        self._num_chunks = dict.fromkeys(arrays, 0)
        self._num_episodes = 0

    @property
    def has_begun(self) -> bool:
        """Whether there was a checkpoint."""
        return self._journal.has_begun

    def take_if_due(
        self, transitions: int, episodes: Mapping[str, Sequence[Any]], facts: Callable[[], Mapping[str, Any]]
    ) -> None:
        """Take a checkpoint if the last one is long enough ago; see `take`."""
        if self._journal.is_due:
            self.take(transitions, episodes, facts())

    def take(self, transitions: int, episodes: Mapping[str, Sequence[Any]], facts: Mapping[str, Any]) -> None:
        """Note everything that was appended so far.

        Parameters
        ----------
        transitions : int
            Rows so far.
        episodes : mapping of name to sequence
            What is known once an episode: ``lengths``, ``whole``, ``final_known``; empty in the other layout.
        facts : mapping
            Metadata so far; noted at the first checkpoint.
        """
        if not self._journal.has_begun:
            self._journal.begin(self._header(facts))
        counts = {"transitions": transitions, "episodes": len(episodes.get("lengths", ()))}
        self._journal.checkpoint(self._growth(counts, episodes), self._tail(counts))

    def _header(self, facts: Mapping[str, Any]) -> Record:
        arrays = {
            name: {
                "chunk_rows": array.encoder.chunk_rows,
                "chunks_per_file": self._store.chunks_per_file(name),
            }
            for name, array in self._arrays.items()
        }
        described = {
            "journal_version": JOURNAL_VERSION,
            "container": self._container,
            "spec": self._spec.to_json(),
            "arrays": arrays,
            "written_by": written_by(),
            "metadata": dict(facts),
        }
        return Record(described, {})

    def _growth(self, counts: Mapping[str, int], episodes: Mapping[str, Sequence[Any]]) -> Record:
        first_chunks, arrays = dict(self._num_chunks), {}
        for name in self._arrays:
            offsets, sizes = self._store.written(name)
            known = self._num_chunks[name]
            arrays[f"offsets/{name}"], arrays[f"sizes/{name}"] = offsets[known:], sizes[known:]
            self._num_chunks[name] = len(offsets)
        for name, values in episodes.items():
            kind = np.int64 if name == "lengths" else np.bool_
            arrays[f"episodes/{name}"] = np.array(values[self._num_episodes :], kind)
        first_episode, self._num_episodes = self._num_episodes, counts["episodes"]
        return Record({**counts, "first_chunks": first_chunks, "first_episode": first_episode}, arrays)

    def _tail(self, counts: Mapping[str, int]) -> Record:
        pending = {name: array.pending for name, array in self._arrays.items()}
        first_rows = {name: array.num_rows for name, array in self._arrays.items()}
        return Record({**counts, "first_rows": first_rows}, pending)
