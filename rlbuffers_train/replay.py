"""The most recent steps of several environments in RAM, for training online.

Observations of one environment are kept one frame a step: stacks overlap, and the observation after
a step is the one before the next. 100,000 steps of 84 x 84 frames take 0.7 GB where stacks on both
sides of each transition would take 5.6 GB.

A row is what `add` was given for one environment at one vector step. In gymnasium's ``NEXT_STEP``
mode the row after an ending one is no transition (see `rlbuffers.environments`), but its frame is
needed: it is the true final observation. Which rows may begin an n-step transition is decided when
they are written, as a queue of starts, so that drawing never rejects.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rlbuffers.errors import SpecError, UsageError

__all__ = ["ReplayRing"]

Array = np.ndarray[Any, Any]


class ReplayRing:
    """A ring of the last `capacity` steps, drawn from uniformly as n-step transitions.

    Parameters
    ----------
    capacity : int
        Number of steps kept, all environments together.
    num_envs : int
        Number of environments that step together; divides the ring into equal parts.
    observation_shape : tuple of int
        Shape of one observation; (stack, height, width) for stacked frames.
    observation_dtype : str
        Such as ``uint8``.
    is_stacked : bool
        Whether the first axis of an observation is a stack of frames, oldest first, padded with
        zero frames after a reset.
    n_step : int
        Number of rewards that are summed; fewer where the episode ends before.
    gamma : float
        Discount of one step.
    """

    def __init__(
        self,
        capacity: int,
        num_envs: int,
        observation_shape: tuple[int, ...],
        observation_dtype: str,
        *,
        is_stacked: bool,
        n_step: int,
        gamma: float,
    ) -> None:
        self._depth = observation_shape[0] if is_stacked else 1
        frame_shape = observation_shape[1:] if is_stacked else observation_shape
        self._num_rows = capacity // num_envs
        if n_step < 1 or self._num_rows <= n_step + self._depth:
            raise UsageError(
                f"{capacity} steps of {num_envs} environments do not hold {n_step}-step transitions "
                f"with stacks of {self._depth} frames"
            )
        self._is_stacked = is_stacked
        self._n_step = n_step
        self._gamma = gamma
        self._num_added = 0  # row number r lies in slot r % num_rows
        shape = (self._num_rows, num_envs)
        self._frames = np.empty((*shape, *frame_shape), observation_dtype)
        # Frames of the row's stack that are no padding, the newest not counted; -1 before row 0.
        self._num_older = np.full(shape, -1, np.int8)
        self._newest = np.zeros((num_envs, self._depth, *frame_shape), observation_dtype)
        self._actions: Array = np.empty((0,), np.int64)  # takes the shape of the first actions
        self._rewards = np.zeros(shape, np.float32)
        self._terminals = np.zeros(shape, np.bool_)
        self._ends = np.zeros(shape, np.bool_)
        # Where transitions begin, as slot * num_envs + environment, in the order of time.
        self._starts = np.zeros(self._num_rows * num_envs, np.int64)
        self._num_starts_before = np.zeros(self._num_rows, np.int64)
        self._num_starts = 0

    def add(self, observations: Array, actions: Array, rewards: Array, terminated: Array, truncated: Array) -> None:
        """Store one step of every environment.

        Parameters
        ----------
        observations : array, shape (num_envs, *obs)
            What the actions were chosen for; not what came after.
        actions : array, shape (num_envs,) or (num_envs, D)
        rewards, terminated, truncated : array, shape (num_envs,)
            What was done and what followed. Rows that are no transitions must be passed as well.

        Raises
        ------
        SpecError
            If a stack of frames neither continues the one before nor is padded with zeros.
        """
        slot = self._num_added % self._num_rows
        stacks = observations if self._is_stacked else observations[:, None]
        self._num_older[slot] = self._count_older_frames(stacks)
        self._newest[...] = stacks
        self._frames[slot] = stacks[:, -1]
        if not self._num_added:
            self._actions = np.zeros((self._num_rows, *actions.shape), actions.dtype)
        self._actions[slot] = actions
        self._rewards[slot] = rewards
        self._terminals[slot] = terminated
        self._ends[slot] = terminated | truncated
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
        return np.where(continues, np.minimum(before + 1, self._depth - 1), 0)

    def _append_starts(self, slot: int) -> None:
        follows_end = self._ends[(self._num_added - 1) % self._num_rows]
        starts = slot * len(follows_end) + np.flatnonzero(~follows_end)
        self._num_starts_before[slot] = self._num_starts
        self._starts[(self._num_starts + np.arange(len(starts))) % len(self._starts)] = starts
        self._num_starts += len(starts)

    def _drawable(self) -> tuple[int, int]:
        """Return the first and one past the last start whose n steps and stacks are in the ring."""
        has_wrapped = self._num_added > self._num_rows
        oldest = self._num_added - self._num_rows + self._depth - 1 if has_wrapped else 0
        newest = max(self._num_added - self._n_step, oldest)
        first, last = self._num_starts_before[[oldest % self._num_rows, newest % self._num_rows]]
        return int(first), int(last)

    def __len__(self) -> int:
        """Return the number of transitions that can be drawn."""
        first, last = self._drawable()
        return last - first

    def sample(self, batch_size: int, generator: np.random.Generator) -> dict[str, Array]:
        """Draw transitions uniformly, with replacement.

        Returns
        -------
        dict
            ``observations``, ``actions``, ``rewards`` (sums of up to n), ``next_observations`` and
            ``discounts`` (0 after a termination), each of shape (batch_size, ...).

        Raises
        ------
        UsageError
            If there is no complete transition yet.
        """
        first, last = self._drawable()
        if first == last:
            raise UsageError("the replay holds no complete transition yet; add more steps first")
        drawn = generator.integers(first, last, size=batch_size) % len(self._starts)
        slots, envs = np.divmod(self._starts[drawn], self._ends.shape[1])
        rewards, discounts, bootstrap_slots = self._sum_rewards(slots, envs)
        return {
            "observations": self._stacks(slots, envs),
            "actions": self._actions[slots, envs],
            "rewards": rewards,
            "next_observations": self._stacks(bootstrap_slots, envs),
            "discounts": discounts,
        }

    def _sum_rewards(self, slots: Array, envs: Array) -> tuple[Array, Array, Array]:
        """Add up to n rewards; return sums, discounts and the slots of the bootstrap observations."""
        last_slots = slots
        rewards = self._rewards[slots, envs]
        discounts = np.full(len(slots), self._gamma, np.float32)
        for _ in range(self._n_step - 1):
            goes_on = ~self._ends[last_slots, envs]
            last_slots = np.where(goes_on, (last_slots + 1) % self._num_rows, last_slots)
            rewards += np.where(goes_on, discounts * self._rewards[last_slots, envs], 0.0)
            discounts *= np.where(goes_on, np.float32(self._gamma), np.float32(1.0))
        discounts[self._terminals[last_slots, envs]] = 0.0
        return rewards, discounts, (last_slots + 1) % self._num_rows

    def _stacks(self, slots: Array, envs: Array) -> Array:
        """Gather the observations of rows; frames older than their episode are zeros."""
        if not self._is_stacked:
            return self._frames[slots, envs]
        num_older = self._num_older[slots, envs]
        stacks = np.empty((len(slots), self._depth, *self._frames.shape[2:]), self._frames.dtype)
        for age in range(self._depth):
            stacks[:, -1 - age] = self._frames[(slots - age) % self._num_rows, envs]
            stacks[num_older < age, -1 - age] = 0
        return stacks
