"""Rows of a Dopamine replay log that follow each other without a gap, over the borders of files."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rlbuffers.decoding.npy_stream import NpyStream
from rlbuffers.sources.dopamine.checkpoints import Checkpoint, Columns, Segment, Survey, read_columns, survey
from rlbuffers.sources.dopamine.links import Link, link_between, may_overlap
from rlbuffers.stats import total_reward

__all__ = ["Chain", "ChainRows", "find_chains"]

Array = np.ndarray[Any, Any]


@dataclass
class Chain:
    """Segments of which each goes on where the one before ends.

    Parameters
    ----------
    from_start : bool
        Whether its first row is known, without padding, to be the first one that was ever stored.
    segments : list of Segment
        In time order.
    terminals, zeros : list of bool arrays
        Of each segment: rows marked as terminal, and rows in which everything is 0.
    reward_sum : float
        Of all rows.
    """

    from_start: bool
    segments: list[Segment] = field(default_factory=list)
    terminals: list[Array] = field(default_factory=list)
    zeros: list[Array] = field(default_factory=list)
    reward_sum: float = 0.0

    def __len__(self) -> int:
        return sum(len(segment) for segment in self.segments)

    def add(self, segment: Segment, found: Survey) -> None:
        """Put rows of a surveyed checkpoint at the end."""
        rows = slice(segment.start, segment.stop)
        self.segments.append(segment)
        self.terminals.append(found.columns.terminals[rows].copy())  # a view would keep the whole survey alive
        self.zeros.append(found.zero[rows].copy())
        self.reward_sum += total_reward(found.columns.rewards[rows])

    def epoch_of(self, row: int) -> int:
        """Return the number of the checkpoint that a row belongs to."""
        stops = np.cumsum([len(segment) for segment in self.segments])
        return self.segments[int(np.searchsorted(stops, row, side="right"))].epoch


def find_chains(
    checkpoints: Sequence[Checkpoint], on_read: Callable[[int], None]
) -> tuple[list[Chain], list[Link], list[dict[str, Any]]]:
    """Read checkpoints once, in the order given, and put together what follows each other.

    Parameters
    ----------
    checkpoints : sequence of Checkpoint
        In ascending order.
    on_read : callable
        Is given the number of compressed bytes of frames that were read.

    Returns
    -------
    chains : list of Chain
        Without those that have no rows.
    links : list of Link
        How each checkpoint but the first follows the one before it.
    files : list of dict
        Facts of all files.
    """
    chains: list[Chain] = []
    links: list[Link] = []
    files: list[dict[str, Any]] = []
    before: Survey | None = None
    compared = [number for pair in itertools.pairwise(checkpoints) if may_overlap(*pair) for number in pair]
    for checkpoint in checkpoints:
        found = survey(checkpoint, on_read, with_digests=checkpoint in compared)
        files += found.files
        link = None if before is None else link_between(before, found)
        links += [] if link is None else [link]
        if link is None or not link.is_joined:
            # A log with padding has it at its start, too. One without was not written by Dopamine, and shows nothing.
            is_unpadded = not found.zero.any()
            chains.append(Chain(is_unpadded and checkpoint.number == 0 and checkpoint.add_count <= checkpoint.capacity))
        for segment in Segment.own_rows(checkpoint) if link is None else link.segments():
            chains[-1].add(segment, found)
        before = found
    return [chain for chain in chains if len(chain)], links, files


class ChainRows:
    """Reads the rows of a chain once, from beginning to end.

    Parameters
    ----------
    chain : Chain
        What to read.
    on_read : callable
        Is given the number of compressed bytes of frames that were read.
    """

    def __init__(self, chain: Chain, on_read: Callable[[int], None]) -> None:
        self._parts = self._opened(chain, on_read)
        self._columns: Columns
        self._frames: NpyStream
        self._row = self._stop = 0  # of the open segment, in its file
        self._position = 0

    def skip_to(self, position: int) -> None:
        """Pass over rows up to `position` in the chain."""
        for rows in self._slices(position - self._position):
            self._frames.skip(rows.stop - rows.start)

    def take(self, count: int, padding: int) -> tuple[Array, Array, Array]:
        """Return the next rows.

        Returns
        -------
        frames : uint8, shape (padding + count, height, width)
            The first `padding` of them zeros.
        actions, rewards : array of shape (count,)
            As stored.
        """
        frames: Array | None = None
        actions, rewards = [], []
        filled = padding
        for rows in self._slices(count):
            if frames is None:
                frames = np.zeros((padding + count, *self._frames.shape[1:]), np.uint8)
            length = rows.stop - rows.start
            self._frames.read_into(frames[filled : filled + length])
            actions.append(self._columns.actions[rows])
            rewards.append(self._columns.rewards[rows])
            filled += length
        if frames is None:
            raise ValueError("an episode has at least one row")
        return frames, np.concatenate(actions), np.concatenate(rewards)

    def _slices(self, count: int) -> Iterator[slice]:
        """Yield which rows of the open file come next, until there are `count` in all."""
        while count:
            if self._row == self._stop:
                next(self._parts)
            length = min(count, self._stop - self._row)
            yield slice(self._row, self._row + length)
            self._row += length
            self._position += length
            count -= length

    def _opened(self, chain: Chain, on_read: Callable[[int], None]) -> Iterator[None]:
        for segment in chain.segments:
            self._columns = read_columns(segment.checkpoint)
            path = segment.checkpoint.path("observation")
            self._frames = NpyStream(path, lambda data: on_read(len(data)))
            self._frames.skip(segment.start)
            self._row, self._stop = segment.start, segment.stop
            yield
