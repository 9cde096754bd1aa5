"""The most recent steps of several environments in RAM, for learning while playing.

Observations of one environment are kept one frame a step: stacks overlap, and the observation after
a step is the one before the next. 100,000 steps of 84 x 84 frames take 0.7 GB where stacks on both
sides of each transition would take 5.6 GB.

A row is what `append` was given for one environment at one vector step. In gymnasium's ``NEXT_STEP``
mode the row after an ending one is no transition (see `rlbuffers.environments`), but its observation
is needed: it is the true final one. Which rows may begin a transition is decided when they are
appended, as a queue of starts, so that drawing never rejects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbuffers.episode import check_rows
from rlbuffers.errors import OutOfRangeError, SpecError, UsageError
from rlbuffers.listing import unlike
from rlbuffers.schema import (
    FRAMES,
    NEXT_OBSERVATIONS,
    OBSERVATIONS,
    TERMINALS,
    TIMEOUTS,
    BufferSpec,
)

if TYPE_CHECKING:
    from rlbuffers.samplers.prioritized import Priorities
    from rlbuffers.samplers.sampler import Sampler
    from rlbuffers.transforms import Transform

__all__ = ["RingBuffer"]

Array = np.ndarray[Any, Any]
Indices = np.ndarray[Any, np.dtype[np.int64]]


class RingBuffer:
    """A ring of the last `capacity` steps, with the interface of a buffer.

    ``len(ring)`` is the number of transitions whose next observation has been appended; ``rows(0)`` is the
    oldest of them. Appending costs the same however full the ring is.

    Parameters
    ----------
    spec : BufferSpec
        With layout ``episodes`` and terminals. With ``stack``, observations are appended as stacks, oldest
        frame first, padded with zero frames after a reset.
    capacity : int
        Number of steps kept, all environments together.
    num_envs : int, default 1
        Number of environments that step together; the ring is divided equally between them.

    Raises
    ------
    SpecError
        If the spec has another layout or no terminals.
    UsageError
        If the capacity is too small to hold a transition.
    """

    def __init__(self, spec: BufferSpec, capacity: int, num_envs: int = 1) -> None:
        if spec.layout != "episodes" or TERMINALS not in spec.columns:
            raise SpecError(f"a ring needs layout 'episodes' and a column {TERMINALS!r}; got {spec.layout!r}")
        self.spec = spec
        self.num_envs = num_envs
        self.depth = spec.stack or 1
        self._num_rows = capacity // num_envs
        self.check_holds(1)
        self._num_added = 0  # row number r lies in slot r % num_rows
        shape = (self._num_rows, num_envs)
        self._stored = {
            name: np.zeros((*shape, *column.shape), column.dtype)
            for name, column in spec.columns.items()
            if not (spec.stack and name == OBSERVATIONS)
        }
        self._ends = np.zeros(shape, np.bool_)
        if spec.stack:
            column = spec.columns[OBSERVATIONS]
            self._stored[FRAMES] = np.zeros((*shape, *column.shape[1:]), column.dtype)
            # Frames of the row's stack that are no padding, the newest not counted; -1 before row 0.
            self._num_older = np.full(shape, -1, np.int8)
            self._newest = np.zeros((num_envs, *column.shape), column.dtype)
        # Where transitions begin, as slot * num_envs + environment, in the order of time.
        self._starts = np.zeros(self._num_rows * num_envs, np.int64)
        self._num_starts_before = np.zeros(self._num_rows, np.int64)
        self._num_starts = 0

    def check_holds(self, n_step: int) -> None:
        """Raise an error if the ring is too small for transitions over `n_step` steps."""
        if self._num_rows <= n_step + self.depth:
            raise UsageError(
                f"{self._num_rows} steps of each of {self.num_envs} environments do not hold {n_step}-step transitions "
                f"with stacks of {self.depth} frames; choose a larger capacity"
            )

    def append(self, rows: Mapping[str, Array]) -> None:
        """Store one step of every environment.

        Parameters
        ----------
        rows : mapping of name to array, shape (num_envs, *row)
            Every column of the spec. Observations are those that the actions were chosen for, not what came
            after. Rows that are no transitions must be passed as well.

        Raises
        ------
        SpecError
            If a column is missing, unknown, of another dtype or shape; or if a stack of frames neither continues
            the one before nor is padded with zeros.
        """
        if set(rows) != set(self.spec.columns):
            raise SpecError(f"a step has columns {unlike(rows, self.spec.columns)}")
        slot = self._num_added % self._num_rows
        checked = {
            name: check_rows(name, rows[name], spec.dtype, spec.shape) for name, spec in self.spec.columns.items()
        }
        for name, values in checked.items():
            if len(values) != self.num_envs:
                raise SpecError(
                    f"column {name!r}: expected one row for each of {self.num_envs} environments, got {len(values)}"
                )
        if self.spec.stack:
            stacks = checked.pop(OBSERVATIONS)
            self._num_older[slot] = self._count_older_frames(stacks)
            self._newest[...] = stacks
            checked[FRAMES] = stacks[:, -1]
        for name, values in checked.items():
            self._stored[name][slot] = values
        self._ends[slot] = checked[TERMINALS] | checked[TIMEOUTS] if TIMEOUTS in checked else checked[TERMINALS]
        self._append_starts(slot)
        self._num_added += 1

    def _count_older_frames(self, stacks: Array) -> Array:
        """Count the frames of each stack that the ring holds already; the others must be padding."""
        older = stacks[:, :-1].reshape(len(stacks), -1)
        continues = (older == self._newest[:, 1:].reshape(len(stacks), -1)).all(axis=1)
        is_padded = ~older.any(axis=1)
        if not (continues | is_padded).all():
            raise SpecError(
                f"environment {int(np.argmin(continues | is_padded))}: its stack of frames neither continues "
                "the one before nor is padded with zeros as after a reset"
            )
        before = self._num_older[(self._num_added - 1) % self._num_rows]
        return np.where(continues, np.minimum(before + 1, self.depth - 1), 0)

    def _append_starts(self, slot: int) -> None:
        follows_end = self._ends[(self._num_added - 1) % self._num_rows]
        starts = slot * self.num_envs + np.flatnonzero(~follows_end)
        self._num_starts_before[slot] = self._num_starts
        self._starts[(self._num_starts + np.arange(len(starts))) % len(self._starts)] = starts
        self._num_starts += len(starts)

    def starts_between(self, n_step: int) -> tuple[int, int]:
        """Return the first and one past the last start whose n steps and stacks are in the ring."""
        has_wrapped = self._num_added > self._num_rows
        oldest = self._num_added - self._num_rows + self.depth - 1 if has_wrapped else 0
        newest = max(self._num_added - n_step, oldest)
        first, last = self._num_starts_before[[oldest % self._num_rows, newest % self._num_rows]]
        return int(first), int(last)

    @property
    def num_starts_kept(self) -> int:
        """How many starts there can be at once."""
        return len(self._starts)

    def places_of(self, starts: Indices) -> tuple[Indices, Indices]:
        """Return the slots and environments of starts."""
        slots, envs = np.divmod(self._starts[starts % len(self._starts)], self.num_envs)
        return slots, envs

    def next_slots(self, slots: Indices, envs: Indices) -> tuple[Indices, Array]:
        """Return the slots one step later, and whether the episode goes on there; where not, the slots stay."""
        goes_on = ~self._ends[slots, envs]
        return np.where(goes_on, (slots + 1) % self._num_rows, slots), goes_on

    def stored(self, name: str, slots: Indices, envs: Indices) -> Array:
        """Return a column of the spec at rows; frames older than their episode are zeros."""
        if not (self.spec.stack and name == OBSERVATIONS):
            return self._stored[name][slots, envs]
        frames = self._stored[FRAMES]
        num_older = self._num_older[slots, envs]
        stacks = np.empty((len(slots), self.depth, *frames.shape[2:]), frames.dtype)
        for age in range(self.depth):
            stacks[:, -1 - age] = frames[(slots - age) % self._num_rows, envs]
            stacks[num_older < age, -1 - age] = 0
        return stacks

    def following(self, name: str, slots: Indices, envs: Indices) -> Array:
        """Return a next-observation column at rows."""
        observation = OBSERVATIONS + name.removeprefix(NEXT_OBSERVATIONS)
        return self.stored(observation, (slots + 1) % self._num_rows, envs)

    def __len__(self) -> int:
        """Return the number of transitions."""
        first, last = self.starts_between(1)
        return last - first

    def rows(self, indices: Sequence[int] | Array, columns: Sequence[str] | None = None) -> dict[str, Array]:
        """Return the transitions at `indices`, the oldest being 0; negative ones count from the newest.

        Parameters
        ----------
        indices : int array, shape (B,)
            In any order, repeats allowed. The same transition gets a smaller index as older ones are forgotten.
        columns : sequence of str, optional
            Which columns; all of ``spec.batch_names`` by default.

        Raises
        ------
        OutOfRangeError
            If an index is out of range.
        SpecError
            If a column does not exist.
        """
        wanted = np.asarray(indices, np.int64)
        first, last = self.starts_between(1)
        outside = (wanted < first - last) | (wanted >= last - first)
        if outside.any():
            raise OutOfRangeError(f"there is no row {int(wanted[outside][0])}; the ring has {last - first:,}")
        slots, envs = self.places_of(np.where(wanted < 0, last, first) + wanted)
        names = self.spec.batch_names if columns is None else columns
        for name in names:
            self.spec.batch_column(name)
        return {
            name: self.stored(name, slots, envs) if name in self.spec.columns else self.following(name, slots, envs)
            for name in names
        }

    def sampler(
        self,
        batch_size: int,
        seed: int | np.random.Generator = 0,
        *,
        n_step: int = 1,
        gamma: float = 0.99,
        priorities: Priorities | None = None,
        columns: Sequence[str] | None = None,
        transforms: Sequence[Transform] = (),
    ) -> Sampler:
        """Return a sampler of what the ring holds at each draw; see `rlbuffers.samplers.make_sampler`.

        A batch has ``discounts``; new transitions have the greatest priority so far.

        Raises
        ------
        UsageError
            If arguments are out of range, or the ring is too small for `n_step`.
        SpecError
            If a column does not exist.
        """
        from rlbuffers.online.ring_sampler import make_ring_sampler

        return make_ring_sampler(
            self,
            batch_size,
            np.random.default_rng(seed),
            n_step=n_step,
            gamma=gamma,
            priorities=priorities,
            columns=self.spec.batch_names if columns is None else list(columns),
            transforms=transforms,
        )
