"""n-step transitions of a ring, for samplers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

import numpy as np

from rlbuffers.errors import UsageError
from rlbuffers.schema import REWARDS, TERMINALS, TIMEOUTS, BufferSpec
from rlbuffers.stats import summable
from rlbuffers.transforms import Transform
from rlbuffers.windows.base import Array, Batch, Indices
from rlbuffers.windows.items import ItemKind, Items
from rlbuffers.windows.n_step import DISCOUNTS, checked_gamma

__all__ = ["RecentSteps", "RingItems", "RingSteps"]


class RecentSteps(Protocol):
    """What is asked of a ring; see `rlbuffers.RingBuffer`, whose methods these are."""

    @property
    def spec(self) -> BufferSpec:
        """The columns."""

    @property
    def num_starts_kept(self) -> int:
        """How many starts there can be at once."""

    def check_holds(self, n_step: int) -> None:
        """Raise an error if the ring is too small for transitions over `n_step` steps."""

    def starts_between(self, n_step: int) -> tuple[int, int]:
        """Return the first and one past the last start whose n steps and stacks are in the ring."""

    def places_of(self, starts: Indices) -> tuple[Indices, Indices]:
        """Return the slots and environments of starts."""

    def next_slots(self, slots: Indices, envs: Indices) -> tuple[Indices, Array]:
        """Return the slots one step later, and whether the episode goes on there."""

    def stored(self, name: str, slots: Indices, envs: Indices) -> Array:
        """Return a column of the spec at rows."""

    def following(self, name: str, slots: Indices, envs: Indices) -> Array:
        """Return a next-observation column at rows."""


class RingItems:
    """The starts of a ring, numbered from the first that was ever appended; old ones go as new ones come.

    Parameters
    ----------
    ring : RecentSteps
        Whose.
    n_step : int
        Number of steps that must be there from a start on.
    """

    kind: ItemKind = "rows"

    def __init__(self, ring: RecentSteps, n_step: int) -> None:
        self._ring = ring
        self._n_step = n_step
        self.capacity = ring.num_starts_kept

    @property
    def bounds(self) -> tuple[int, int]:
        """First start, and one past the last."""
        return self._ring.starts_between(self._n_step)

    def at(self, places: Indices) -> Indices:
        """Return the places: they are the starts' numbers."""
        return places

    def places_of(self, items: Indices) -> Indices:
        """Return the items, those too that are gone.

        Raises
        ------
        UsageError
            If one cannot have been drawn yet.
        """
        last = self.bounds[1]
        wrong = (items < 0) | (items >= last)
        if wrong.any():
            raise UsageError(f"transition {int(items[wrong][0])} is none that this sampler draws")
        return items


class RingSteps:
    """Transitions over up to n steps of a ring; see `rlbuffers.windows.n_step` for what a batch holds.

    Parameters
    ----------
    ring : RecentSteps
        Where to read.
    n_step : int
        Number of rewards that are summed, at least 1; fewer where the episode ends before.
    gamma : float
        Discount of one step, in [0, 1].
    columns : sequence of str
        Which columns.
    transforms : sequence of Transform
        Applied in this order, to rewards before they are summed.

    Raises
    ------
    UsageError
        If a number is out of range, or the ring is too small for `n_step`.
    SpecError
        If a column does not exist.
    """

    is_rowwise: ClassVar[bool] = True

    def __init__(
        self, ring: RecentSteps, n_step: int, gamma: float, columns: Sequence[str], transforms: Sequence[Transform]
    ) -> None:
        if n_step < 1:
            raise UsageError(f"n_step must be at least 1, got {n_step}")
        ring.check_holds(n_step)
        for name in columns:
            ring.spec.batch_column(name)
        self.items: Items = RingItems(ring, n_step)
        self._ring = ring
        self._n_step = n_step
        self._gamma = np.float32(checked_gamma(gamma))
        self._columns = [name for name in columns if name != DISCOUNTS]
        self._transforms = tuple(transforms)

    def read(self, items: Indices) -> Batch:
        """Return a dict of name to array, shape (B, *row); ``discounts`` is float32, shape (B,)."""
        slots, envs = self._ring.places_of(items)
        rewards, discounts, last = self._sum_rewards(slots, envs)
        batch = {}
        for name in self._columns:
            if name in (TERMINALS, TIMEOUTS):
                batch[name] = self._ring.stored(name, last, envs)
            elif name not in self._ring.spec.columns:
                batch[name] = self._ring.following(name, last, envs)
            elif name != REWARDS:
                batch[name] = self._ring.stored(name, slots, envs)
        batch = self._transformed(batch)
        if REWARDS in self._columns:
            batch[REWARDS] = rewards
        batch[DISCOUNTS] = discounts
        return batch

    def _sum_rewards(self, slots: Indices, envs: Indices) -> tuple[Array, Array, Indices]:
        """Add up to n rewards; return sums, discounts and the slots of the last steps."""
        rewards = self._rewards(slots, envs)
        discounts = np.full(len(slots), self._gamma, np.float32)
        for _ in range(self._n_step - 1):
            slots, goes_on = self._ring.next_slots(slots, envs)
            rewards += np.where(goes_on, discounts * self._rewards(slots, envs), np.float32(0.0))
            discounts *= np.where(goes_on, self._gamma, np.float32(1.0))
        discounts[self._ring.stored(TERMINALS, slots, envs)] = 0.0
        return rewards, discounts, slots

    def _rewards(self, slots: Indices, envs: Indices) -> Array:
        return summable(self._transformed({REWARDS: self._ring.stored(REWARDS, slots, envs)})[REWARDS])

    def _transformed(self, batch: Batch) -> Batch:
        for transform in self._transforms:
            batch = transform(batch)
        return batch
