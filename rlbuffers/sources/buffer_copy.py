"""A finished buffer as a source: what is needed to write it again, into another container."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rlbuffers.episode import Episode, Transitions
from rlbuffers.reader import Buffer
from rlbuffers.schema import (
    EPISODE_FINAL_KNOWN,
    EPISODE_LENGTHS,
    EPISODE_STARTS,
    EPISODE_WHOLE,
    EPISODES_GROUP,
    FRAMES,
    OVERRIDE_OBSERVATIONS,
    OVERRIDE_ROWS,
    STACK_INDEX,
    BufferSpec,
    final_name,
    is_observation,
)
from rlbuffers.sources.base import IdentityDecoder, Rows, Source
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["BufferCopySource"]

Array = np.ndarray[Any, Any]
# Fills chunks of frames and fingerprint blocks exactly.
_TRANSITIONS_AT_ONCE = 1024
_DERIVED_METADATA = ("spec", "arrays", "fingerprint", "counts", "statistics", "format", "format_version", "checksum")


class BufferCopySource(Source[Rows]):
    """Everything that a buffer holds, row by row as it is stored.

    Parameters
    ----------
    buffer : Buffer
        Not closed.
    """

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self._done = 0
        self._reward_sum = 0.0

    @property
    def where(self) -> str:
        """Path of the buffer."""
        return str(self._buffer.path)

    @property
    def spec(self) -> BufferSpec:
        """The buffer's own."""
        return self._buffer.spec

    @property
    def decoder(self) -> IdentityDecoder:
        """Rows need no decoding."""
        return IdentityDecoder()

    def pieces(self) -> Iterator[Rows]:
        """Yield the episodes, or batches of transitions, in order."""
        rows = self._episodes() if self.spec.layout == "episodes" else self._batches()
        for piece in rows:
            self._done += len(piece)
            self._reward_sum += total_reward(piece.columns["rewards"])
            yield piece

    def _episodes(self) -> Iterator[Episode]:
        arrays = self._buffer.arrays
        per_episode = {
            name: arrays[name].all() for name in (EPISODE_STARTS, EPISODE_LENGTHS, EPISODE_WHOLE, EPISODE_FINAL_KNOWN)
        }
        facts = {name: arrays[f"{EPISODES_GROUP}/{name}"].all() for name in self.spec.episode_columns}
        columns = [name for name in self.spec.columns if not is_observation(name)]
        stack = self.spec.stack
        for number in range(self._buffer.num_episodes):
            start = int(per_episode[EPISODE_STARTS][number])
            stop = start + int(per_episode[EPISODE_LENGTHS][number])
            known = bool(per_episode[EPISODE_FINAL_KNOWN][number])
            observations = {}
            if stack:
                first = start + number * stack
                observations[FRAMES] = arrays[FRAMES].slice(first, first + stop - start + stack - (not known))
            for name in self.spec.observation_names if not stack else ():
                last = arrays[final_name(name)].slice(number, number + int(known))
                observations[name] = np.concatenate([arrays[name].slice(start, stop), last])
            yield Episode(
                {name: arrays[name].slice(start, stop) for name in columns},
                observations,
                {name: values[number] for name, values in facts.items()},
                bool(per_episode[EPISODE_WHOLE][number]),
            )

    def _batches(self) -> Iterator[Transitions]:
        arrays, stack = self._buffer.arrays, self.spec.stack
        stored = [name for name in self.spec.columns if name in arrays]
        overridden = arrays[OVERRIDE_ROWS].all() if stack else np.empty(0, np.int64)
        for start in range(0, len(self._buffer), _TRANSITIONS_AT_ONCE):
            stop = min(start + _TRANSITIONS_AT_ONCE, len(self._buffer))
            columns = {name: arrays[name].slice(start, stop) for name in stored}
            if not stack:
                yield Transitions(columns)
                continue
            frames = arrays[FRAMES].take(arrays[STACK_INDEX].slice(start, stop).ravel())
            low, high = np.searchsorted(overridden, [start, stop])
            yield Transitions(
                columns,
                frames.reshape(stop - start, stack + 1, *frames.shape[1:]),
                overridden[low:high] - start,
                arrays[OVERRIDE_OBSERVATIONS].slice(int(low), int(high)),
            )

    def extras(self) -> Mapping[str, Array]:
        """Return the buffer's extras."""
        return {name: self._buffer.extra(name) for name in self.spec.extras}

    def tally(self) -> Tally:
        """Count what was handed out."""
        episodes = self._buffer.num_episodes if self.spec.layout == "episodes" else None
        return Tally(episodes, self._done, self._reward_sum)

    def metadata(self) -> dict[str, Any]:
        """Return the buffer's metadata but for what the writer derives from the content."""
        return {name: value for name, value in self._buffer.metadata.items() if name not in _DERIVED_METADATA}

    @property
    def total(self) -> int:
        """Number of transitions."""
        return len(self._buffer)

    @property
    def done(self) -> int:
        """Number of transitions handed out."""
        return self._done
