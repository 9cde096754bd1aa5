"""Single transitions, with discounts, and with the actions that followed."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from rlbuffers.schema import ACTIONS, TERMINALS
from rlbuffers.windows.base import Batch, Indices
from rlbuffers.windows.episode_bounds import EpisodeBounds, unusable_rows
from rlbuffers.windows.items import FixedItems, Items
from rlbuffers.windows.n_step import DISCOUNTS, checked_gamma
from rlbuffers.windows.rows import Rows

__all__ = ["NEXT_ACTIONS", "NEXT_ACTION_KNOWN", "DiscountedTransitions", "FollowedTransitions", "Transitions"]

NEXT_ACTIONS, NEXT_ACTION_KNOWN = "next_actions", "next_action_known"


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


class FollowedTransitions:
    """Single rows with the action of the row that follows each: ``next_actions``, like ``actions``.

    ``next_action_known``, bool of shape (B,), is False where the task or the recording ended with the row; next actions
    are zeros there. A stored column of that name is not read.

    Parameters
    ----------
    transitions : Transitions
        What else a batch holds.
    rows : Rows
        Where to read; layout ``episodes``.

    Raises
    ------
    UnsupportedError
        If the buffer holds independent transitions.
    """

    is_rowwise: ClassVar[bool] = True

    def __init__(self, transitions: Transitions, rows: Rows) -> None:
        self._transitions = transitions
        self._rows = rows
        self._bounds = EpisodeBounds(rows.buffer, "next actions")
        self.items = transitions.items

    def read(self, items: Indices) -> Batch:
        """Return a dict of name to array, shape (B, *row)."""
        batch = self._transitions.read(items)
        known = self._bounds.task_end_of(items) > items
        following = self._rows.at(np.where(known, items + 1, items), [ACTIONS])[ACTIONS]
        following[~known] = 0
        return {**batch, NEXT_ACTIONS: following, NEXT_ACTION_KNOWN: known}
