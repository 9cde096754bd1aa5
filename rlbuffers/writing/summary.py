"""What a buffer's metadata say of its content: counts and statistics, gathered while it is written."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rlbuffers.schema import (
    ACTIONS,
    NEXT_OBSERVATIONS,
    REWARDS,
    TERMINALS,
    TIMEOUTS,
    BufferSpec,
    ColumnSpec,
    is_observation,
)
from rlbuffers.stats import ColumnStatistics, total_reward

__all__ = ["MAX_COUNTED_ACTIONS", "ColumnSummary"]

Array = np.ndarray[Any, Any]
# Statistics of larger rows (images) would cost more than they tell.
_MAX_STATISTICS_ELEMENTS = 4096
# More choices, such as of a hash, are not counted one by one.
MAX_COUNTED_ACTIONS = 1 << 20


class ColumnSummary:
    """Looks at the rows of every column once, in pieces of any size.

    Parameters
    ----------
    spec : BufferSpec
        Tells which columns there are and what is worth knowing of each.
    """

    def __init__(self, spec: BufferSpec) -> None:
        self.reward_sum = 0.0
        self.flag_counts = {name: 0 for name in (TERMINALS, TIMEOUTS) if name in spec.columns}
        self._statistics = {
            name: ColumnStatistics() for name, column in spec.columns.items() if _has_statistics(column, spec)
        }
        space = spec.columns[ACTIONS].space or {}
        self._first_action = space.get("start", 0)
        is_counted = space.get("type") == "discrete" and space["n"] <= MAX_COUNTED_ACTIONS
        self._action_counts = np.zeros(space["n"], np.int64) if is_counted else None

    def observer_of(self, name: str) -> Callable[[Array], None] | None:
        """Return what is to be called with the rows of a column, or None if it needs no look."""
        observers: list[Callable[[Array], None]] = []
        if name in self._statistics:
            observers.append(self._statistics[name].update)
        if name in self.flag_counts:
            observers.append(lambda rows: self._count_flags(name, rows))
        if name == ACTIONS and self._action_counts is not None:
            observers.append(self._count_actions)
        if name == REWARDS:
            observers.append(self._add_rewards)

        def observe(rows: Array) -> None:
            for observer in observers:
                observer(rows)

        return observe if observers else None

    def _count_flags(self, name: str, rows: Array) -> None:
        self.flag_counts[name] += int(np.count_nonzero(rows))

    def _add_rewards(self, rows: Array) -> None:
        self.reward_sum += total_reward(rows)

    def _count_actions(self, actions: Array) -> None:
        """Count known actions; `validate` reports the others."""
        counts = self._action_counts
        if counts is not None:
            places = actions.ravel().astype(np.int64) - self._first_action
            counts += np.bincount(places[(places >= 0) & (places < len(counts))], minlength=len(counts))

    def statistics(self) -> dict[str, Any]:
        """Return the statistics of the columns as JSON values."""
        found: dict[str, Any] = {name: statistics.to_json() for name, statistics in self._statistics.items()}
        found["reward_sum"] = self.reward_sum if math.isfinite(self.reward_sum) else None
        if self._action_counts is not None:
            found["action_counts"] = self._action_counts.tolist()
        return found


def _has_statistics(column: ColumnSpec, spec: BufferSpec) -> bool:
    """Numbers of which a mean means something: no flags, no choices, no ids, no images."""
    small = math.prod(column.shape) <= _MAX_STATISTICS_ELEMENTS
    vector = is_observation(column.name) and not spec.stack and column.dtype.kind in "iuf"
    return bool(small and (vector or (column.dtype.kind == "f" and not column.name.startswith(NEXT_OBSERVATIONS))))
