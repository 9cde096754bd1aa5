"""The episodes of a buffer as d3rlpy has them, for its file and for the object in RAM.

``d3rlpy.dataset.Episode`` has T observations for T actions. What follows from that:

- Of an episode that was terminated the observation after the last action is left out: d3rlpy puts zeros
  there, and nothing bootstraps from it.
- Of an episode that was cut d3rlpy makes T - 1 transitions. Where the observation after the last action
  is known, one row is appended that holds it, with zeros for action and reward, so that d3rlpy has all
  transitions.
- Stacks of frames are stored as their newest frame, (1, H, W), for d3rlpy's ``FrameStackTransitionPicker``.
- Several observations are a tuple, without their names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlbuffers.errors import UnsupportedError
from rlbuffers.exports.base import block_rows, episode_blocks
from rlbuffers.exports.newest_frames import newest_frames, next_frames
from rlbuffers.listing import listed
from rlbuffers.reader import Buffer
from rlbuffers.schema import (
    ACTIONS,
    EPISODE_LENGTHS,
    EPISODE_STARTS,
    EPISODE_WHOLE,
    OBSERVATIONS,
    REWARDS,
    TERMINALS,
    TIMEOUTS,
    next_name,
)
from rlbuffers.stats import summable

__all__ = ["D3rlpyEpisode", "D3rlpyEpisodes"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class D3rlpyEpisode:
    """The arguments of ``d3rlpy.dataset.Episode``.

    Parameters
    ----------
    observations : list of array, shape (T, *row) each
        One array, or several for a tuple.
    actions : array, shape (T, A)
        (T, 1) for discrete ones.
    rewards : array, shape (T, 1)
        In the buffer's dtype; float32 for half precision, since d3rlpy sums them in their own.
    terminated : bool
        Whether the last row is terminal.
    """

    observations: list[Array]
    actions: Array
    rewards: Array
    terminated: bool


class D3rlpyEpisodes:
    """All episodes of a buffer, in order; they end at every terminal and timeout.

    Parameters
    ----------
    buffer : Buffer
        Where the rows come from; a block of episodes is read at a time.

    Attributes
    ----------
    starts, stops : int64, shape (E,)
        Rows of each episode in the buffer, the latter exclusive.
    final_rows : bool, shape (E,)
        Episodes that get a row which holds the last observation only.

    Raises
    ------
    UnsupportedError
        If d3rlpy cannot hold such a buffer; says why.
    """

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self._spec = buffer.spec
        self._check()
        self._terminals = buffer.arrays[TERMINALS].all()
        absent = np.zeros(len(buffer), bool)
        self._timeouts = buffer.arrays[TIMEOUTS].all() if TIMEOUTS in self._spec.columns else absent
        self._last_rows = buffer.arrays[EPISODE_STARTS].all() + buffer.arrays[EPISODE_LENGTHS].all() - 1
        ends = self._terminals | self._timeouts
        ends[self._last_rows] = True
        self.stops: Array = np.flatnonzero(ends) + 1
        self.starts: Array = np.concatenate([[0], self.stops[:-1]])
        self._next_is_known = ~np.isin(self.stops - 1, buffer.rows_without_next)
        self.terminated: Array = self._terminals[self.stops - 1]
        self.final_rows: Array = self._next_is_known & ~self.terminated

    def _check(self) -> None:
        where = self._buffer.path
        if self._spec.layout != "episodes":
            raise UnsupportedError(f"{where}: d3rlpy holds episodes; this buffer holds independent transitions")
        if TERMINALS not in self._spec.columns:
            raise UnsupportedError(f"{where}: has no column 'terminals', without which d3rlpy cannot learn")
        actions = self._spec.columns[ACTIONS]
        if len(actions.shape) > 1:
            raise UnsupportedError(f"{where}: d3rlpy's actions are vectors; here they have the shape {actions.shape}")
        if self.is_discrete and actions.shape not in ((), (1,)):
            raise UnsupportedError(
                f"{where}: d3rlpy knows one discrete action a step; here there are {actions.shape[0]}"
            )

    @property
    def is_discrete(self) -> bool:
        """Whether actions are whole numbers."""
        return self._spec.columns[ACTIONS].dtype.kind in "biu"

    @property
    def _sums_overflow(self) -> bool:
        return self._spec.columns[REWARDS].dtype == np.float16

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[D3rlpyEpisode]:
        for first, last in episode_blocks(self.starts, self.stops, block_rows(self._buffer)):
            yield from self._block(first, last)

    def _block(self, first: int, last: int) -> Iterator[D3rlpyEpisode]:
        """Yield episodes `first` to `last`, exclusive, whose rows are read at once."""
        start = self.starts[first]
        rows = self._buffer.rows(np.arange(start, self.stops[last - 1]), [ACTIONS, REWARDS])
        rewards = summable(rows[REWARDS]) if self._sums_overflow else rows[REWARDS]
        observed = [self._observed(name, first, last) for name in self._spec.observation_names]
        for number in range(first, last):
            own = slice(self.starts[number] - start, self.stops[number] - start)
            padding = int(self.final_rows[number])
            final = slice(number - first, number - first + padding)
            yield D3rlpyEpisode(
                [np.concatenate([steps[own], finals[final]]) for steps, finals in observed],
                _vectors(rows[ACTIONS][own], padding),
                _vectors(rewards[own], padding),
                bool(self.terminated[number]),
            )

    def _observed(self, name: str, first: int, last: int) -> tuple[Array, Array]:
        """Return an observation at each step of some episodes, and after their last steps."""
        steps = np.arange(self.starts[first], self.stops[last - 1])
        ends = self.stops[first:last] - 1
        if self._spec.stack:
            return newest_frames(self._buffer, steps)[:, None], next_frames(self._buffer, ends)[:, None]
        rows = self._buffer.rows(steps, [name])[name]
        finals = self._buffer.rows(ends, [next_name(name)])[next_name(name)]
        return (rows, finals) if rows.ndim > 1 else (rows[:, None], finals[:, None])

    def left_out(self) -> list[str]:
        """Name what d3rlpy cannot hold, or what it shows otherwise, a sentence each."""
        return [*self._lost_columns(), *self._mistaken_actions(), *self._lost_ends(), *self._lost_observations()]

    def _mistaken_actions(self) -> Iterator[str]:
        """d3rlpy tells the kind of action by the first episode's values (``dataset/utils.py``), not by the dtype."""
        column = self._spec.columns[ACTIONS]
        is_box = not self.is_discrete or (column.space or {}).get("type") == "box"
        first = self._buffer.rows(np.arange(self.starts[0], self.stops[0]), [ACTIONS])[ACTIONS]
        if is_box and (np.trunc(first) == first).all():
            size = column.shape[0] if column.shape else 1
            yield (
                "that actions are continuous: those of the first episode are whole numbers, which ReplayBuffer.load "
                "takes for discrete actions. Load the file with d3rlpy.dataset.load(Episode, file), and give "
                "ReplayBuffer(InfiniteBuffer(), episodes=..., action_space=ActionSpace.CONTINUOUS, "
                f"action_size={size})"
            )

    def _lost_columns(self) -> Iterator[str]:
        spec = self._spec
        known = {ACTIONS, REWARDS, TERMINALS, TIMEOUTS, *spec.observation_names}
        for what, names in (
            ("columns", [name for name in spec.columns if name not in known]),
            ("what each episode has once", list(spec.episode_columns)),
            ("what the buffer has once", [*spec.extras, *self._buffer.metadata.get("scalars", {})]),
        ):
            if names:
                yield f"{what}: {listed(names)}"
        first = (spec.columns[ACTIONS].space or {}).get("start", 0)
        if first:
            yield f"that actions begin at {first}: d3rlpy counts them from 0"
        if self._sums_overflow:
            yield "that rewards are float16: they are float32, since d3rlpy sums rewards in their own precision"

    def _lost_ends(self) -> Iterator[str]:
        last = self._last_rows
        inside = len(self.stops) - len(last)
        both = int((self._timeouts & self._terminals).sum())
        flagged = (self._timeouts | self._terminals)[last]
        neither = int((~flagged).sum())
        not_whole = int((~self._buffer.arrays[EPISODE_WHOLE].all() & flagged).sum())
        if inside:
            yield f"that play goes on after {inside:,} terminals or timeouts: d3rlpy ends an episode at each"
        if both:
            yield f"the timeouts of {both:,} terminal steps"
        if neither:
            yield f"that {neither:,} episodes were cut with neither terminal nor timeout"
        if not_whole:
            yield f"that {not_whole:,} episodes were not recorded from beginning to end (episodes/whole)"

    def _lost_observations(self) -> Iterator[str]:
        spec = self._spec
        known = int((self.terminated & self._next_is_known).sum())
        unknown = int((~self.terminated & ~self._next_is_known).sum())
        padded = int(self.final_rows.sum())
        if known:
            yield f"the last observation of {known:,} terminated episodes, which d3rlpy has no place for"
        if unknown:
            yield f"where the last step of {unknown:,} episodes led, which is not known: d3rlpy has no transition there"
        if padded:
            yield (
                f"that {padded:,} rows are no steps: they hold the last observation of an episode that was cut, with "
                "zeros for action and reward, so that d3rlpy has the transition before it"
            )
        if spec.stack:
            yield (
                f"the stacking: each row has its newest frame only; FrameStackTransitionPicker({spec.stack}) stacks "
                "them, and pads the first ones of an episode with zeros"
            )
        names = spec.observation_names
        if names != [OBSERVATIONS]:
            yield f"the names of the observations, which are a tuple in the order {listed(names)}"
        if any(not spec.columns[name].shape for name in names):
            yield "that observations are single numbers: they are vectors of one"


def _vectors(rows: Array, padding: int) -> Array:
    """Return rows (T, A), with `padding` rows of zeros appended."""
    wide = rows if rows.ndim > 1 else rows[:, None]
    return np.concatenate([wide, np.zeros((padding, *wide.shape[1:]), wide.dtype)])
