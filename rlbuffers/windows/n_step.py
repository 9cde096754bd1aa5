"""n-step transitions: sums of rewards, and what is bootstrapped from after them.

With k the smaller of n and the number of steps that the task still has from row t on (counting t)::

    rewards[t]           = r[t] + gamma r[t + 1] + ... + gamma^(k - 1) r[t + k - 1]
    next_observations[t] = what was observed after row t + k - 1
    discounts[t]         = 0 if row t + k - 1 is terminal, else gamma^k

so that ``rewards + discounts * value(next_observations)`` is the target: a timeout, or the recording's
end, is bootstrapped through.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from rlbuffers.errors import UsageError
from rlbuffers.schema import NEXT_OBSERVATIONS, REWARDS, TERMINALS, TIMEOUTS
from rlbuffers.stats import summable
from rlbuffers.windows.base import Array, Batch, Indices
from rlbuffers.windows.episode_bounds import EpisodeBounds, unusable_rows
from rlbuffers.windows.items import FixedItems, Items
from rlbuffers.windows.rows import Rows

__all__ = ["DISCOUNTS", "NSteps", "checked_gamma"]

DISCOUNTS = "discounts"


def checked_gamma(gamma: float) -> float:
    """Return `gamma` if it lies in [0, 1].

    Raises
    ------
    UsageError
        If not.
    """
    if not 0 <= gamma <= 1:
        raise UsageError(f"gamma must lie in [0, 1], got {gamma}")
    return gamma


class NSteps:
    """Transitions over up to n steps, which stop at the end of the task.

    Next observations, terminals and timeouts are those of the last step, rewards are sums (float32, or
    float64 where the rewards are), every other column is that of the first step. A stored column
    ``discounts`` is not read: the batch's is the factor on the bootstrapped value. Rows whose n steps
    would end, not terminal, where the source did not hold the next observation are no items.

    Parameters
    ----------
    rows : Rows
        Where to read.
    num_steps : int
        n, at least 1.
    gamma : float
        Discount of one step, in [0, 1].

    Raises
    ------
    UsageError
        If `num_steps` or `gamma` is out of range, or there is nothing to draw.
    UnsupportedError
        If the buffer holds independent transitions.
    """

    is_rowwise: ClassVar[bool] = True

    def __init__(self, rows: Rows, num_steps: int, gamma: float) -> None:
        if num_steps < 1:
            raise UsageError(f"n_step must be at least 1, got {num_steps}")
        self._rows = rows
        self._num_steps = num_steps
        self._gamma = checked_gamma(gamma)
        self._bounds = EpisodeBounds(rows.buffer, "n-step returns")
        names = [name for name in rows.names if name != DISCOUNTS]
        self._last_names = [name for name in names if name in (TERMINALS, TIMEOUTS) or _is_next(name)]
        self._first_names = [name for name in names if name not in self._last_names and name != REWARDS]
        self._sums = REWARDS in names
        self.items: Items = FixedItems("rows", len(rows.buffer), self._not_bootstrapped())

    def _not_bootstrapped(self) -> Indices:
        """Return the first rows of windows that end where nothing is known of what comes next."""
        ends = unusable_rows(self._rows.buffer)
        if not len(ends):
            return ends
        steps = min(self._num_steps, int(self._bounds.lengths.max()))
        first = (ends[:, None] - np.arange(steps)).ravel()
        first = first[first >= 0]
        items: Indices = np.unique(first[np.isin(self._bounds.task_end_of(first), ends)])
        return items

    def read(self, items: Indices) -> Batch:
        """Return a dict of name to array, shape (B, *row); ``discounts`` is float32, shape (B,)."""
        last = np.minimum(items + self._num_steps - 1, self._bounds.task_end_of(items))
        batch = self._rows.at(items, self._first_names)
        batch.update(self._rows.at(last, self._last_names))
        if self._sums:
            batch[REWARDS] = self._summed_rewards(items, last)
        powers = self._gamma ** (last - items + 1)
        batch[DISCOUNTS] = np.where(self._bounds.is_terminal(last), 0.0, powers).astype(np.float32)
        return batch

    def _summed_rewards(self, first: Indices, last: Indices) -> Array:
        steps = first[:, None] + np.arange(int((last - first).max(initial=0)) + 1)
        inside = steps <= last[:, None]
        read = self._rows.at(steps[inside], [REWARDS])[REWARDS]
        rewards = np.zeros(steps.shape)
        rewards[inside] = read
        # Step by step, so that a sum does not depend, in its last bits, on what it is computed beside.
        sums = np.zeros(len(rewards))
        for step in reversed(range(rewards.shape[1])):
            sums = rewards[:, step] + self._gamma * sums
        return sums.astype(summable(read[:0]).dtype)


def _is_next(name: str) -> bool:
    return name == NEXT_OBSERVATIONS or name.startswith(f"{NEXT_OBSERVATIONS}/")
