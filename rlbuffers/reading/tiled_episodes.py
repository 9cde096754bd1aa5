"""That a buffer's episodes tile its rows: asked when their starts or lengths are first read, for all who use them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlbuffers.errors import CorruptDataError
from rlbuffers.reading.stored_rows import StoredRows
from rlbuffers.schema import EPISODE_LENGTHS, EPISODE_STARTS
from rlbuffers.stores.base import StoreReader

__all__ = ["check_tiling"]

Array = np.ndarray[Any, Any]


def check_tiling(rows: Mapping[str, StoredRows], store: StoreReader, num_rows: int, where: str) -> None:
    """Let starts and lengths of episodes be checked when they are read.

    Parameters
    ----------
    rows : mapping of str to StoredRows
        Of the buffer.
    store : StoreReader
        Where they are read from.
    num_rows : int
        Number of transitions.
    where : str
        What was opened, for messages.
    """

    def other(name: str) -> Array:
        # Not the ones in `rows`: two that refer to each other keep their file open until they are found.
        return StoredRows(store, name).unchecked()

    rows[EPISODE_STARTS].check = lambda starts: _require(starts, other(EPISODE_LENGTHS), num_rows, where)
    rows[EPISODE_LENGTHS].check = lambda lengths: _require(other(EPISODE_STARTS), lengths, num_rows, where)


def _require(starts: Array, lengths: Array, num_rows: int, where: str) -> None:
    within = np.clip(lengths, 1, num_rows)  # so that sums do not overflow
    ends = np.cumsum(within)
    if (lengths != within).any() or (starts != ends - within).any() or ends[-1] != num_rows:
        raise CorruptDataError(f"{where}: the episodes' starts and lengths do not tile the rows")
