"""A finished buffer as a source: all of it, or chosen episodes or rows, in blocks of bounded size.

Every operation that makes a buffer of a buffer reads through this one class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from rlbuffers.episode import Transitions
from rlbuffers.episode_block import EpisodeBlock
from rlbuffers.errors import OutOfRangeError, UsageError
from rlbuffers.fingerprint import BLOCK_ROWS
from rlbuffers.metadata import METADATA_KEYS, is_derived
from rlbuffers.reader import Buffer
from rlbuffers.schema import (
    EPISODE_FINAL_KNOWN,
    EPISODE_IDS,
    EPISODE_LENGTHS,
    EPISODE_RETURNS,
    EPISODE_STARTS,
    EPISODE_WHOLE,
    EPISODES_GROUP,
    FRAMES,
    OVERRIDE_OBSERVATIONS,
    OVERRIDE_ROWS,
    REWARDS,
    STACK_INDEX,
    BufferSpec,
    final_name,
    is_observation,
    stored_arrays,
)
from rlbuffers.sources.base import Rows, RowSource
from rlbuffers.sources.unique_ids import recording_of
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["DERIVED_METADATA", "BufferSelection", "descriptive_metadata"]

Array = np.ndarray[Any, Any]
Indices = np.ndarray[Any, np.dtype[np.int64]]
# What is handed out at a time.
_BLOCK_BYTES = 16 << 20
# What may lie between the first and the last chosen row of a block: all of it may have to be decoded.
_SPAN_BYTES = 64 << 20
DERIVED_METADATA = tuple(filter(is_derived, METADATA_KEYS))


class BufferSelection(RowSource[Rows]):
    """Chosen episodes, or in the ``transitions`` layout rows, of a buffer, in the order of the buffer.

    Parameters
    ----------
    buffer : Buffer
        Not closed. Opened with little cache, memory is bounded by a few blocks of 16 MB.
    chosen : int array, optional
        Numbers of the episodes, or of the rows, ascending; everything by default.
    lengths : int array, optional
        Steps to keep of each chosen episode, from its beginning. Where these are not all, the
        observation after the last of them becomes the episode's final one, and the episode is no
        longer marked as whole.

    Raises
    ------
    OutOfRangeError
        If there is no such episode or row.
    UsageError
        If nothing is chosen, the numbers do not ascend, or an episode has fewer steps than are to be kept.
    """

    def __init__(self, buffer: Buffer, chosen: Array | None = None, *, lengths: Array | None = None) -> None:
        self._buffer = buffer
        self._in_episodes = buffer.spec.layout == "episodes"
        count = buffer.num_episodes if self._in_episodes else len(buffer)
        # Numbers of all rows are not kept: there may be very many.
        self._rows: Indices | None = None
        self._count = count if chosen is None else len(chosen)
        if chosen is not None:
            self._rows = _ascending(np.asarray(chosen, np.int64), count, buffer, self._in_episodes)
        if self._in_episodes:
            self._numbers: Indices = np.arange(count) if self._rows is None else self._rows
            self._starts: Indices = buffer.arrays[EPISODE_STARTS].all()[self._numbers]
            self._full_lengths: Indices = buffer.arrays[EPISODE_LENGTHS].all()[self._numbers]
            self._lengths = self._full_lengths if lengths is None else np.asarray(lengths, np.int64)
            self._check_lengths()
        elif lengths is not None:
            raise UsageError(f"{buffer.path}: independent transitions have no lengths")
        self._done = 0
        self._reward_sum = 0.0

    def _check_lengths(self) -> None:
        if (
            self._lengths.shape != self._full_lengths.shape
            or ((self._lengths < 1) | (self._lengths > self._full_lengths)).any()
        ):
            raise UsageError(
                f"{self._buffer.path}: expected a length for each chosen episode, of 1 to all of its steps"
            )

    @property
    def where(self) -> str:
        """Path of the buffer."""
        return str(self._buffer.path)

    @property
    def spec(self) -> BufferSpec:
        """The buffer's own."""
        return self._buffer.spec

    def pieces(self) -> Iterator[Rows]:
        """Yield blocks of episodes, or of transitions, in order."""
        read = self._episodes if self._in_episodes else self._transitions
        for first, last in self._bounds():
            piece = read(slice(first, last))
            self._done += len(piece)
            self._reward_sum += total_reward(piece.columns[REWARDS])
            yield piece

    def _bounds(self) -> Iterator[tuple[int, int]]:
        """Cut the selection where a block is full, or would reach over too much that was not chosen."""
        arrays = [array for array in stored_arrays(self.spec).values() if array.rows in ("transitions", "frames")]
        spanned = sum(array.row_bytes for array in arrays if array.name != FRAMES)
        frames_a_row = self.spec.stack + 1 if not self._in_episodes else 1
        chosen = spanned + sum(array.row_bytes * frames_a_row for array in arrays if array.name == FRAMES)
        rows = max(_BLOCK_BYTES // chosen, 1)
        if self._in_episodes:
            return self._episode_bounds(rows, max(_SPAN_BYTES // spanned, rows))
        rows = max(rows // BLOCK_ROWS, 1) * BLOCK_ROWS  # fills chunks of frames and fingerprint blocks exactly
        return self._row_bounds(rows, max(_SPAN_BYTES // spanned, rows))

    def _episode_bounds(self, rows: int, span: int) -> Iterator[tuple[int, int]]:
        ends, last_rows = np.cumsum(self._lengths), self._starts + self._lengths
        first = 0
        while first < self._count:
            by_rows = np.searchsorted(ends, ends[first] - self._lengths[first] + rows, side="right")
            by_span = np.searchsorted(last_rows, self._starts[first] + span, side="right")
            last = max(int(min(by_rows, by_span)), first + 1)
            yield first, last
            first = last

    def _row_bounds(self, rows: int, span: int) -> Iterator[tuple[int, int]]:
        first = 0
        while first < self._count:
            last = min(first + rows, self._count)
            if self._rows is not None:
                last = min(last, int(np.searchsorted(self._rows, self._rows[first] + span)))
            yield first, last
            first = last

    def _episodes(self, block: slice) -> EpisodeBlock:
        arrays, stack = self._buffer.arrays, self.spec.stack
        numbers, starts, lengths = self._numbers[block], self._starts[block], self._lengths[block]
        rows = _runs(starts, lengths)
        known, whole = (_take(arrays[name], numbers) for name in (EPISODE_FINAL_KNOWN, EPISODE_WHOLE))
        is_cut = lengths < self._full_lengths[block]
        known, whole = known | is_cut, whole & ~is_cut
        finals = {}
        if stack:
            finals[FRAMES] = _take(arrays[FRAMES], _runs(starts + numbers * stack, lengths + stack))
        else:
            for name in self.spec.observation_names:
                finals[name] = _take(arrays[final_name(name)], numbers)
                if is_cut.any():
                    finals[name][is_cut] = _take(arrays[name], (starts + lengths)[is_cut])
        columns = {
            name: _take(arrays[name], rows) for name in self.spec.columns if not (stack and is_observation(name))
        }
        facts = {name: _take(arrays[f"{EPISODES_GROUP}/{name}"], numbers) for name in self.spec.episode_columns}
        return EpisodeBlock(columns, finals, lengths, whole, known, facts)

    def _transitions(self, block: slice) -> Transitions:
        arrays, stack = self._buffer.arrays, self.spec.stack
        rows = np.arange(block.start, block.stop) if self._rows is None else self._rows[block]
        columns = {name: _take(arrays[name], rows) for name in self.spec.columns if name in arrays}
        if not stack:
            return Transitions(columns)
        frames = _take(arrays[FRAMES], _take(arrays[STACK_INDEX], rows).ravel())
        _, places, overridden = np.intersect1d(rows, self._override_rows, assume_unique=True, return_indices=True)
        return Transitions(
            columns,
            frames.reshape(len(rows), stack + 1, *frames.shape[1:]),
            places.astype(np.int64),
            arrays[OVERRIDE_OBSERVATIONS].take(overridden.astype(np.int64)),
        )

    @cached_property
    def _override_rows(self) -> Indices:
        return self._buffer.arrays[OVERRIDE_ROWS].all()

    def extras(self) -> Mapping[str, Array]:
        """Return the buffer's extras."""
        return {name: self._buffer.extra(name) for name in self.spec.extras}

    @property
    def recording(self) -> str | None:
        """What the buffer was chosen from, or itself."""
        return recording_of(self._buffer.metadata)

    def episode_ids(self, group: str = "") -> Array | None:
        """Return the ids of what was chosen, each once, ascending."""
        ids = self._buffer.arrays[f"{group}{EPISODE_IDS}"].all()
        numbers = self._numbers if group else self._rows
        if not group and self._in_episodes:
            numbers = _runs(self._starts, self._lengths)
        return np.unique(ids if numbers is None else ids[numbers])

    def tally(self) -> Tally:
        """Count what was chosen, by the stored returns where there are episodes."""
        if not self._in_episodes:
            return Tally(None, self._count, self._reward_sum)
        returns = self._buffer.arrays[EPISODE_RETURNS].all()[self._numbers]
        for place in np.flatnonzero(self._lengths < self._full_lengths).tolist():
            start, length = int(self._starts[place]), int(self._lengths[place])
            returns[place] = total_reward(self._buffer.arrays[REWARDS].slice(start, start + length))
        total = total_reward(returns)
        return Tally(self._count, int(self._lengths.sum()), total)

    def metadata(self) -> dict[str, Any]:
        """Return the buffer's metadata but for what the writer derives; rows of parts are counted anew."""
        facts = descriptive_metadata(self._buffer)
        source = facts.get("source")
        if isinstance(source, dict) and isinstance(source.get("parts"), list):
            facts["source"] = {**source, "parts": self._parts(source["parts"], 0)}
        return facts

    def _parts(self, parts: list[dict[str, Any]], base: int) -> list[dict[str, Any]]:
        """Say which of the chosen rows belong to each part; a part's parts count from its own first row."""
        counted = []
        before = self._rows_before(base)
        for part in parts:
            if not {"first_row", "transitions"} <= set(part):
                counted.append(part)
                continue
            first, count = base + int(part["first_row"]), int(part["transitions"])
            begin, end = self._rows_before(first), self._rows_before(first + count)
            inner = {"parts": self._parts(part["parts"], first)} if part.get("parts") else {}
            counted.append({**part, "first_row": begin - before, "transitions": end - begin, **inner})
        return counted

    def _rows_before(self, row: int) -> int:
        """Count the chosen rows that stand before a row of the buffer."""
        if not self._in_episodes:
            return row if self._rows is None else int(np.searchsorted(self._rows, row))
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        if number < 0:
            return 0
        earlier = int(self._lengths[:number].sum())
        return earlier + int(min(row - self._starts[number], self._lengths[number]))

    @property
    def total(self) -> int:
        """Number of transitions."""
        return int(self._lengths.sum()) if self._in_episodes else self._count

    @property
    def done(self) -> int:
        """Number of transitions handed out."""
        return self._done


def descriptive_metadata(buffer: Buffer) -> dict[str, Any]:
    """Return a buffer's metadata but for what the writer derives from the content."""
    return {name: value for name, value in buffer.metadata.items() if name not in DERIVED_METADATA}


def _ascending(chosen: Indices, count: int, buffer: Buffer, in_episodes: bool) -> Indices:
    what = "episode" if in_episodes else "row"
    if not len(chosen):
        raise UsageError(f"{buffer.path}: no {what} was chosen")
    if (np.diff(chosen) < 1).any():
        raise UsageError(f"numbers of chosen {what}s must ascend")
    if chosen[0] < 0 or chosen[-1] >= count:
        wrong = chosen[0] if chosen[0] < 0 else chosen[-1]
        raise OutOfRangeError(f"{buffer.path}: there is no {what} {wrong}; the buffer has {count:,}")
    return chosen


def _runs(starts: Indices, lengths: Indices) -> Indices:
    """Return the indices of runs, one after the other."""
    ends = np.cumsum(lengths)
    indices: Indices = np.arange(int(ends[-1])) + np.repeat(starts - (ends - lengths), lengths)
    return indices


def _take(rows: Any, indices: Indices) -> Array:
    """Read rows at ascending indices; a single run without gathering."""
    if len(indices) and indices[-1] - indices[0] == len(indices) - 1:
        found: Array = rows.slice(int(indices[0]), int(indices[-1]) + 1)
        return found
    taken: Array = rows.take(indices)
    return taken
