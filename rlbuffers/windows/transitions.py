"""Single transitions."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from rlbuffers.schema import TERMINALS
from rlbuffers.windows.base import Batch, Indices
from rlbuffers.windows.episode_bounds import unusable_rows
from rlbuffers.windows.items import FixedItems, Items
from rlbuffers.windows.n_step import DISCOUNTS, checked_gamma
from rlbuffers.windows.rows import Rows

__all__ = ["DiscountedTransitions", "Transitions"]


class Transitions:
    """The columns of single rows, as they are stored.

    Rows that are not terminal and whose next observation the source did not hold are no items.

    Parameters
    ----------
    rows : Rows
        Where to read.
    """

    is_rowwise: ClassVar[bool] = True

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.items: Items = FixedItems("rows", len(rows.buffer), unusable_rows(rows.buffer))

    def read(self, items: Indices) -> Batch:
        """Return a dict of name to array, shape (B, *row)."""
        return self._rows.at(items)


class DiscountedTransitions(Transitions):
    """Single rows with their ``discounts``: gamma, or 0 where the task ended; float32, shape (B,)."""

    def __init__(self, rows: Rows, gamma: float) -> None:
        super().__init__(rows)
        self._gamma = checked_gamma(gamma)
        self._has_terminals = TERMINALS in rows.buffer.spec.columns

    def read(self, items: Indices) -> Batch:
        """Return a dict of name to array, shape (B, *row)."""
        batch = super().read(items)
        discounts = np.full(len(items), self._gamma, np.float32)
        if self._has_terminals:
            # From the batch where it is there; as a flag again where a transform has cast it.
            terminals = batch[TERMINALS] if TERMINALS in batch else self._rows.at(items, [TERMINALS])[TERMINALS]
            discounts[terminals.astype(np.bool_)] = 0.0
        batch[DISCOUNTS] = discounts
        return batch
