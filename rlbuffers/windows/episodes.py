"""Whole episodes: padded to the longest of a batch, or one after another."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from rlbuffers.windows.base import Batch, Indices
from rlbuffers.windows.episode_bounds import EpisodeBounds, is_among, unusable_rows
from rlbuffers.windows.items import FixedItems, Items
from rlbuffers.windows.rows import Rows
from rlbuffers.windows.sequences import MASK, read_padded

__all__ = ["LENGTHS", "JoinedEpisodes", "PaddedEpisodes", "split_episodes"]

LENGTHS = "lengths"


class _Episodes:
    """What both have in common: an item is the number of an episode."""

    is_rowwise: ClassVar[bool] = False

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._bounds = EpisodeBounds(rows.buffer, "whole episodes")
        self._unusable = unusable_rows(rows.buffer)
        self.items: Items = FixedItems("episodes", len(self._bounds.starts))


class PaddedEpisodes(_Episodes):
    """Episodes with zeros after their ends; T is the length of the longest in the batch.

    ``lengths``, int64 of shape (B,), are those of the episodes. ``mask``, bool of shape (B, T), is
    False after the end, and at a step, not terminal, whose next observation the source did not hold.

    Parameters
    ----------
    rows : Rows
        Where to read; layout ``episodes``.

    Raises
    ------
    UnsupportedError
        If the buffer holds independent transitions.
    """

    def read(self, items: Indices) -> Batch:
        """Return a dict of name to array, shape (B, T, *row)."""
        starts, lengths = self._bounds.starts[items, None], self._bounds.lengths[items]
        steps = starts + np.arange(lengths.max(initial=0))
        inside = steps < starts + lengths[:, None]
        batch = read_padded(self._rows, np.where(inside, steps, starts), inside)
        return {**batch, MASK: inside & ~is_among(self._unusable, steps), LENGTHS: lengths}


class JoinedEpisodes(_Episodes):
    """The steps of B episodes one after another, nothing between them; see :func:`split_episodes`.

    ``lengths``, int64 of shape (B,), say where one ends. ``mask``, bool with one entry a step, is
    False at a step, not terminal, whose next observation the source did not hold.

    Parameters
    ----------
    rows : Rows
        Where to read; layout ``episodes``.

    Raises
    ------
    UnsupportedError
        If the buffer holds independent transitions.
    """

    def read(self, items: Indices) -> Batch:
        """Return a dict of name to array, shape (sum of lengths, *row)."""
        starts, lengths = self._bounds.starts[items], self._bounds.lengths[items]
        before = np.cumsum(lengths) - lengths
        steps = np.arange(lengths.sum()) + np.repeat(starts - before, lengths)
        return {**self._rows.at(steps), MASK: ~is_among(self._unusable, steps), LENGTHS: lengths}


def split_episodes(batch: Batch) -> list[Batch]:
    """Return the episodes of a joined batch, each a dict of name to array, shape (T, *row); views."""
    stops = np.cumsum(batch[LENGTHS])
    return [
        {name: rows[start:stop] for name, rows in batch.items() if name != LENGTHS}
        for start, stop in zip(stops - batch[LENGTHS], stops, strict=True)
    ]
