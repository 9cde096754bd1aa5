"""The ids by which rows that stand alone name their episode."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlbuffers.errors import UnsupportedError
from rlbuffers.reader import Buffer
from rlbuffers.schema import EPISODE_IDS

__all__ = ["EPISODE_RETURNS_COLUMN", "ids_of_episodes"]

EPISODE_RETURNS_COLUMN = "episode_returns"


def ids_of_episodes(buffer: Buffer) -> np.ndarray[Any, Any]:
    """Return the ids of all rows.

    Raises
    ------
    UnsupportedError
        If rows of one id state several returns, as where recordings that count alike were merged before
        rlbuffers kept their ids apart.
    """
    ids = buffer.arrays[EPISODE_IDS].all()
    if EPISODE_RETURNS_COLUMN in buffer.spec.columns:
        returns = buffer.arrays[EPISODE_RETURNS_COLUMN].all()
        _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
        unlike = (returns != returns[first][inverse]) & ~(np.isnan(returns) & np.isnan(returns[first][inverse]))
        if unlike.any():
            row = int(unlike.argmax())
            raise UnsupportedError(
                f"{buffer.path}: rows with {EPISODE_IDS} {ids[row]} state several {EPISODE_RETURNS_COLUMN}, so that "
                "the ids do not tell episodes apart; if it was merged or converted of several recordings by an older "
                "release, make it again"
            )
    return ids
