"""Sums of the rewards from each row to the end of its task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rlbuffers.windows.base import Array
from rlbuffers.windows.episode_bounds import EpisodeBounds

if TYPE_CHECKING:
    from rlbuffers.table import Table

__all__ = ["RETURNS_TO_GO", "returns_to_go"]

RETURNS_TO_GO = "returns_to_go"


def returns_to_go(buffer: Table, rewards: Array, discount: float) -> Array:
    """Return the discounted sum of rewards from each row on.

    The sum ends with the episode, or before, at a terminal (see `EpisodeBounds`). Nothing is added for
    what would have followed a timeout.

    Parameters
    ----------
    buffer : Table
        With layout ``episodes``.
    rewards : float or int, shape (N,)
        Of every row.
    discount : float
        Of one step, in [0, 1].

    Returns
    -------
    float32, shape (N,)
        Summed in double precision.
    """
    num_rows = len(rewards)
    rows = np.arange(num_rows)
    ends = EpisodeBounds(buffer, "returns-to-go").task_end_of(rows)
    sums = rewards.astype(np.float64)
    # Each pass doubles the number of rewards that a sum holds: 15 passes for an Atari game, none of them a loop.
    reach = 1
    while reach < num_rows and (goes_on := rows[: num_rows - reach][ends[: num_rows - reach] >= rows[reach:]]).size:
        sums[goes_on] += discount**reach * sums[goes_on + reach]
        reach *= 2
    return sums.astype(np.float32)
