"""Prioritized replay: items in proportion to how much they surprised.

T. Schaul, J. Quan, I. Antonoglou, D. Silver: "Prioritized Experience Replay", ICLR 2016, arXiv:1511.05952::

    P(i) = p_i^alpha / sum over k of p_k^alpha                                 (1)
    w_i  = (N P(i))^-beta / max over k of w_k                                  (section 3.4)

with p_i = abs(priority) + epsilon, the proportional variant. A batch of B is drawn as in the paper's
appendix B.2.1: one item from each of B equal parts of the sum. Items that were never updated have the
greatest priority that occurred so far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlbuffers.errors import UsageError
from rlbuffers.samplers.draws import Drawn, Draws, whole_number
from rlbuffers.samplers.reduction_tree import ReductionTree
from rlbuffers.windows.items import Items

__all__ = ["IMPORTANCE_WEIGHTS", "INDICES", "LinearSchedule", "Priorities", "PrioritizedDraws"]

Array = np.ndarray[Any, Any]
Indices = np.ndarray[Any, np.dtype[np.int64]]
INDICES = "indices"
IMPORTANCE_WEIGHTS = "importance_weights"


@dataclass(frozen=True)
class LinearSchedule:
    """A number that goes from `first` to `last` within `num_batches` draws and stays there."""

    first: float
    last: float
    num_batches: int

    def __call__(self, num_drawn: int) -> float:
        """Return the number after `num_drawn` batches."""
        return self.first + (self.last - self.first) * min(num_drawn / self.num_batches, 1.0)


@dataclass(frozen=True)
class Priorities:
    """Settings of prioritized replay; the defaults are the paper's.

    Parameters
    ----------
    alpha : float
        0 draws uniformly, 1 in proportion to priorities.
    beta : float or callable of int
        Strength of the correction by importance weights, in [0, 1]: a number, or a function of the number of
        batches drawn so far such as `LinearSchedule`.
    epsilon : float
        Added to every priority, so that none is 0.
    initial : array, shape (N,), or name of a column, optional
        Priorities to begin with, one a row of the buffer (or an episode, where episodes are drawn); all equal by
        default.
    """

    alpha: float = 0.6
    beta: float | Callable[[int], float] = LinearSchedule(0.4, 1.0, 1_000_000)
    epsilon: float = 1e-6
    initial: Array | str | None = None

    def __post_init__(self) -> None:
        if not self.alpha >= 0 or not self.epsilon >= 0:
            raise UsageError(f"alpha and epsilon must not be negative, got {self.alpha} and {self.epsilon}")

    def beta_after(self, num_drawn: int) -> float:
        """Return beta for the batch that follows `num_drawn` others."""
        return self.beta(num_drawn) if callable(self.beta) else self.beta


class PrioritizedDraws(Draws):
    """Draws by priorities that `update` changes.

    The batch has ``indices`` (int64, to be given to `update`) and ``importance_weights`` (float32).

    Parameters
    ----------
    items : Items
        What may be chosen.
    generator : numpy.random.Generator
        The only source of randomness.
    priorities : Priorities
        Settings.
    initial : float, shape (capacity,), optional
        Priority of each place; all equal by default.
    """

    kind = "prioritized"

    def __init__(
        self, items: Items, generator: np.random.Generator, priorities: Priorities, initial: Array | None = None
    ) -> None:
        super().__init__(items, generator)
        self._settings = priorities
        self._num_drawn = 0
        self._greatest = 1.0
        self._seen = (0, 0)  # bounds that the trees know
        self._clear()
        if initial is not None:
            self._admit()
            self.update(items.at(np.arange(*items.bounds)), initial)

    def _clear(self) -> None:
        self._sums = ReductionTree(self.items.capacity, np.add, 0.0)
        self._minima = ReductionTree(self.items.capacity, np.minimum, np.inf)

    def _admit(self) -> None:
        """Follow a ring: forget what it forgot, and give new items the greatest priority."""
        first, last = self.items.bounds
        seen_first, seen_last = self._seen
        if (first, last) == self._seen:
            return
        capacity = self.items.capacity
        gone = np.arange(max(seen_first, last - capacity), min(first, seen_last)) % capacity
        self._sums.set(gone, 0.0)
        self._minima.set(gone, np.inf)
        self._set(np.arange(max(seen_last, first), last) % capacity, self._greatest)
        self._seen = first, last

    def _set(self, slots: Indices, powers: Any) -> None:
        self._sums.set(slots, powers)
        self._minima.set(slots, powers)

    def draw(self, count: int) -> Drawn:
        """Choose the items of the next batch."""
        first, _ = self.bounds()
        self._admit()
        total, capacity = self._sums.root, self.items.capacity
        points = (np.arange(count) + self.generator.random(count)) * (total / count)
        slots = self._sums.find(np.minimum(points, np.nextafter(total, 0.0)))
        beta = self._settings.beta_after(self._num_drawn)
        # The greatest weight is that of the smallest priority, and N and the sum cancel.
        weights = (self._sums.leaves[slots] / self._minima.root) ** -beta
        self._num_drawn += 1
        items = self.items.at(first + (slots - first) % capacity)
        return Drawn(items, {INDICES: items, IMPORTANCE_WEIGHTS: weights.astype(np.float32)})

    def update(self, indices: Indices, priorities: Array) -> None:
        """Set the priorities of items; of one that occurs twice the last counts.

        Parameters
        ----------
        indices : int64, shape (B,)
            As they stand in a batch. What a ring has forgotten in the meantime is passed over.
        priorities : float, shape (B,)
            Such as TD errors; signs are ignored.

        Raises
        ------
        UsageError
            If the shapes differ, an item cannot be drawn, or a priority is not finite.
        """
        given = np.asarray(indices, np.int64)
        sizes = np.abs(np.asarray(priorities, np.float64))
        if given.ndim != 1 or given.shape != sizes.shape:
            raise UsageError(f"expected one priority for each of {given.shape} indices, got {sizes.shape}")
        if not np.isfinite(sizes).all():
            raise UsageError(f"priorities must be finite, got {sizes[~np.isfinite(sizes)][0]}")
        self._admit()
        places = self.items.places_of(given)
        powers = (sizes + self._settings.epsilon) ** self._settings.alpha
        kept = places >= self.items.bounds[0]
        if (powers[kept] == 0).any():
            raise UsageError("a priority of 0 needs an epsilon above 0, or the item could never be weighted")
        self._set(places[kept] % self.items.capacity, powers[kept])
        self._greatest = max(self._greatest, float(powers.max(initial=0.0)))

    def state_dict(self) -> dict[str, Any]:
        """Return the state; ``powers`` are the N priorities to the power of alpha, float64, an array."""
        return {
            **super().state_dict(),
            "num_drawn": self._num_drawn,
            "greatest": self._greatest,
            "seen": list(self._seen),
            "powers": self._sums.leaves.copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the state was taken."""
        powers = np.asarray(state.get("powers", ()), np.float64)
        if len(powers) != self.items.capacity:
            raise UsageError(f"the state has {len(powers):,} priorities, expected {self.items.capacity:,}")
        num_drawn = whole_number(state, "num_drawn", 2**63)
        super().load_state_dict(state)
        self._num_drawn, self._greatest = num_drawn, float(state["greatest"])
        self._seen = int(state["seen"][0]), int(state["seen"][1])
        self._clear()
        slots = np.flatnonzero(powers)
        self._set(slots, powers[slots])
