"""Sequences of steps of one episode, of one length, padded and masked."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from rlbuffers.errors import UsageError
from rlbuffers.windows.base import Array, Batch, Indices
from rlbuffers.windows.episode_bounds import EpisodeBounds, is_among, unusable_rows
from rlbuffers.windows.items import FixedItems, Items
from rlbuffers.windows.rows import Rows

__all__ = ["MASK", "Sequences", "read_padded"]

MASK = "mask"


class Sequences:
    """T = burn_in + length steps around each drawn row, which is the first after the burn-in.

    Steps before the episode's begin and after its end are zeros; ``mask``, bool of shape (B, T), is
    False there. It is also False at a step, not terminal, whose next observation the source did not
    hold. So every row is drawn equally often, and how a step is weighted in a loss is the mask's
    matter alone.

    Parameters
    ----------
    rows : Rows
        Where to read.
    length : int
        Number of steps from the drawn row on, at least 1.
    burn_in : int, default 0
        Number of steps before it, for bringing a recurrent state up to date.

    Raises
    ------
    UsageError
        If `length` or `burn_in` is out of range, or there is nothing to draw.
    UnsupportedError
        If the buffer holds independent transitions.
    """

    is_rowwise: ClassVar[bool] = True

    def __init__(self, rows: Rows, length: int, burn_in: int = 0) -> None:
        if length < 1 or burn_in < 0:
            raise UsageError(f"sequences need a length of at least 1 and no negative burn-in, got {length}, {burn_in}")
        self._rows = rows
        self._bounds = EpisodeBounds(rows.buffer, "sequences")
        self._offsets = np.arange(-burn_in, length)
        self._unusable = unusable_rows(rows.buffer)
        self.items: Items = FixedItems("rows", len(rows.buffer), self._unusable)

    def read(self, items: Indices) -> Batch:
        """Return a dict of name to array, shape (B, T, *row); ``mask`` is bool, shape (B, T)."""
        episodes = self._bounds.numbers_at(items)
        starts = self._bounds.starts[episodes]
        stops = starts + self._bounds.lengths[episodes]
        steps = items[:, None] + self._offsets
        inside = (steps >= starts[:, None]) & (steps < stops[:, None])
        batch = read_padded(self._rows, np.where(inside, steps, items[:, None]), inside)
        batch[MASK] = inside & ~is_among(self._unusable, steps)
        return batch


def read_padded(rows: Rows, steps: Indices, inside: Array) -> Batch:
    """Read rows of shape (B, T) and put zeros where `inside` is False; `steps` must be valid there as well."""
    batch = {}
    for name, values in rows.at(steps.ravel()).items():
        shaped = values.reshape(*steps.shape, *values.shape[1:])
        if not inside.all():
            # A stack and the next one share their memory; both are zeros at the same steps.
            shaped = shaped if shaped.flags.writeable else shaped.copy()
            shaped[~inside] = 0
        batch[name] = shaped
    return batch
