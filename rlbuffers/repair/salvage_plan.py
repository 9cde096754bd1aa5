"""What of a damaged buffer is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rlbuffers.repair.losses import Loss
from rlbuffers.row_ranges import ranges_text
from rlbuffers.schema import BufferSpec

__all__ = ["Indices", "Mask", "SalvagePlan", "lost_text"]

Indices = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
_MAX_RANGES = 100


@dataclass(frozen=True)
class SalvagePlan:
    """What is kept of a buffer.

    Parameters
    ----------
    spec : BufferSpec
        Columns that are kept.
    kept : int64, shape (K,)
        Numbers of the episodes, or rows, that are kept.
    starts, lengths : int64, shape (K,)
        First row and steps of each.
    whole, final_known : bool, shape (K,)
        Flags of the episodes; empty in the ``transitions`` layout.
    override_rows : int64, shape (X,)
        Rows whose next observation is stored apart, and -1 where that is not known.
    losses : sequence of Loss
        By array.
    num_lost : int
        Episodes, or rows, that are not kept.
    num_rows_lost : int
        Transitions that are not kept.
    lost_rows : str
        Their ranges, the ends included.
    """

    spec: BufferSpec
    kept: Indices
    starts: Indices
    lengths: Indices
    whole: Mask
    final_known: Mask
    override_rows: Indices
    losses: tuple[Loss, ...]
    num_lost: int
    num_rows_lost: int
    lost_rows: str

    @property
    def num_rows(self) -> int:
        """Transitions that are kept."""
        return int(self.lengths.sum())


def lost_text(lost: Mask) -> str:
    """Write the rows that are lost as ranges, not too many of them."""
    return ranges_text(np.flatnonzero(lost), _MAX_RANGES)
