"""How a buffer looks inside Tianshou's ``ReplayBuffer``: its arrays, its options, and what it cannot hold.

Tianshou keeps flat arrays and walks from row to row: an episode ends at ``done`` (terminated or truncated) or at the
newest row. What follows from that:

- Vector observations are stored with ``obs_next``. Only where no episode's last observation is known is it left to
  Tianshou, which takes the following row, and at an episode's end the same row.
- Stacked frames of whole episodes are stored once (``stack_num``, ``save_only_last_obs``). Then ``obs_next`` must be
  left to Tianshou too: with it, the first next observations of an episode would be stacks of the wrong frames, since
  a stack of ``obs_next`` ends at the episode's first row and not one before it.
- Where rows are independent, or a flag stands within an episode, stacks are stored whole.
- An episode that was cut without a flag is marked truncated, or the next one would follow on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from rlbuffers.errors import UnsupportedError
from rlbuffers.exports.base import block_rows
from rlbuffers.exports.newest_frames import newest_frames
from rlbuffers.listing import listed
from rlbuffers.reader import Buffer
from rlbuffers.schema import (
    ACTIONS,
    EPISODE_LENGTHS,
    EPISODE_RETURNS,
    EPISODE_STARTS,
    EPISODE_WHOLE,
    OBSERVATIONS,
    REWARDS,
    TERMINALS,
    TIMEOUTS,
    ColumnSpec,
    next_name,
)

__all__ = ["TianshouArray", "TianshouLayout"]

Array = np.ndarray[Any, Any]
_RESERVED = ("obs", "act", "rew", "terminated", "truncated", "done", "obs_next", "info", "policy")
_FOLDERS = {"infos": "info", "policy": "policy"}


@dataclass(frozen=True)
class TianshouArray:
    """One array of a row for each transition.

    Parameters
    ----------
    place : str
        Its name within the rows, such as ``obs`` or ``info/qpos``.
    column : ColumnSpec
        What a row looks like.
    read : callable
        Is given (start, stop) and returns these rows.
    """

    place: str
    column: ColumnSpec
    read: Callable[[int, int], Array]


class TianshouLayout:
    """A buffer, as the arrays and numbers of a ``ReplayBuffer`` that is full to its last row.

    Parameters
    ----------
    buffer : Buffer
        Where the rows come from; not closed. Its flags are held in memory.

    Raises
    ------
    UnsupportedError
        If it has no terminals.
    """

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self._spec = buffer.spec
        if TERMINALS not in self._spec.columns:
            raise UnsupportedError(f"{buffer.path}: has no column 'terminals', without which Tianshou cannot learn")
        self._in_order = self._spec.layout == "episodes"
        self.terminated = buffer.arrays[TERMINALS].all()
        given = buffer.arrays[TIMEOUTS].all() if TIMEOUTS in self._spec.columns else np.zeros(len(buffer), bool)
        flagged = self.terminated | given
        self._unmarked = self._last_rows[:-1][~flagged[self._last_rows[:-1]]]
        self._flags_inside = int(flagged.sum() - flagged[self._last_rows].sum()) if self._in_order else 0
        self.truncated = given.copy()
        self.truncated[self._unmarked] = True
        self.done = self.terminated | self.truncated
        self._frames_once = self._in_order and self._spec.stack > 1 and not self._flags_inside
        self._next_is_known = not self._in_order or len(buffer.rows_without_next) < buffer.num_episodes
        self._stores_next = not self._frames_once and (self._next_is_known or self._flags_inside > 0)
        self._homeless = [name for name in self._other_columns() if self._place_of(name) is None]

    @cached_property
    def _starts(self) -> Array:
        return self._buffer.arrays[EPISODE_STARTS].all() if self._in_order else np.empty(0, np.int64)

    @cached_property
    def _last_rows(self) -> Array:
        """Row at which each episode ends; none where rows are independent."""
        if not self._in_order:
            return np.empty(0, np.int64)
        ends: Array = self._starts + self._buffer.arrays[EPISODE_LENGTHS].all() - 1
        return ends

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of ``ReplayBuffer`` beside its size."""
        return {
            "stack_num": self._spec.stack if self._frames_once else 1,
            "ignore_obs_next": not self._stores_next,
            "save_only_last_obs": self._frames_once,
            "sample_avail": False,
        }

    @property
    def numbers(self) -> dict[str, Any]:
        """The buffer's own numbers, under the names of its attributes."""
        options = self.options
        unfinished = self._in_order and not self.done[-1]
        return {
            "maxsize": len(self._buffer),
            "stack_num": options["stack_num"],
            "_size": len(self._buffer),
            "_insertion_idx": 0,
            "_save_obs_next": not options["ignore_obs_next"],
            "_save_only_last_obs": options["save_only_last_obs"],
            "_sample_avail": options["sample_avail"],
            "_ep_len": int(len(self._buffer) - self._starts[-1]) if unfinished else 0,
            "_ep_return": float(self._buffer.arrays[EPISODE_RETURNS].all()[-1]) if unfinished else 0.0,
            "_ep_start_idx": int(self._starts[-1]) if unfinished else 0,
        }

    @property
    def episodes_agree(self) -> bool:
        """Whether Tianshou sees the same episodes."""
        return self._in_order and not self._flags_inside

    @property
    def begins(self) -> bool:
        """Whether the first row begins an episode, as far as is known."""
        if not self._in_order:
            return True
        first_ended = bool(self.done[self._last_rows[0]])
        return bool(self._buffer.arrays[EPISODE_WHOLE].all()[0]) or not first_ended

    def arrays(self) -> Iterator[TianshouArray]:
        """Yield every array of rows."""
        columns = self._spec.columns
        for name in self._spec.observation_names:
            yield from self._observation_arrays(name)
        yield self._plain("act", columns[ACTIONS])
        yield self._rewards()
        flag = np.dtype(np.bool_)
        for place, flags in (("terminated", self.terminated), ("truncated", self.truncated), ("done", self.done)):
            yield TianshouArray(place, ColumnSpec(place, flag), partial(_part, flags))
        for name in self._other_columns():
            place_of_column = self._place_of(name)
            if place_of_column is not None:
                yield self._plain(place_of_column, columns[name])

    def _observation_arrays(self, name: str) -> Iterator[TianshouArray]:
        rest = name.removeprefix(OBSERVATIONS)
        column = self._spec.columns[name]
        if self._frames_once:
            frame = ColumnSpec("obs", column.dtype, column.shape[1:])
            yield TianshouArray("obs", frame, self._newest_frames)
        else:
            yield self._plain(f"obs{rest}", column)
        if self._stores_next:
            following = self._spec.batch_column(next_name(name))
            yield TianshouArray(f"obs_next{rest}", following, partial(self._next_observations, name))

    def _plain(self, place: str, column: ColumnSpec) -> TianshouArray:
        return TianshouArray(place, column, partial(self._rows, column.name))

    def _rewards(self) -> TianshouArray:
        """Floats as they are; Tianshou computes with no others."""
        dtype = self._spec.columns[REWARDS].dtype
        if dtype.kind != "f":
            dtype = np.dtype(np.float64)
        return TianshouArray("rew", ColumnSpec(REWARDS, dtype), partial(self._float_rewards, dtype))

    def _float_rewards(self, dtype: np.dtype[Any], start: int, stop: int) -> Array:
        return self._rows(REWARDS, start, stop).astype(dtype)

    def _rows(self, name: str, start: int, stop: int) -> Array:
        return self._buffer.rows(np.arange(start, stop), [name])[name]

    def _next_observations(self, name: str, start: int, stop: int) -> Array:
        """Return next observations; where they are not known the observation itself, as Tianshou has it."""
        rows = self._rows(next_name(name), start, stop)
        unknown = self._buffer.rows_without_next
        unknown = unknown[(unknown >= start) & (unknown < stop)]
        if len(unknown):
            rows = rows.copy()
            rows[unknown - start] = self._buffer.rows(unknown, [name])[name]
        return rows

    def _newest_frames(self, start: int, stop: int) -> Array:
        return newest_frames(self._buffer, np.arange(start, stop))

    def _other_columns(self) -> list[str]:
        observed = self._spec.observation_names
        known = {ACTIONS, REWARDS, TERMINALS, TIMEOUTS, *observed, *map(next_name, observed)}
        return [name for name in self._spec.columns if name not in known]

    def _place_of(self, name: str) -> str | None:
        """Return where a column goes, or None if Tianshou has something else there."""
        folder, slash, rest = name.partition("/")
        if slash and folder in _FOLDERS:
            return f"{_FOLDERS[folder]}/{rest}"
        return None if folder in _RESERVED else name

    def left_out(self) -> list[str]:
        """Name what Tianshou cannot hold, or what it shows otherwise, a sentence each."""
        return [*self._lost_facts(), *self._lost_ends(), *self._lost_observations()]

    def _lost_facts(self) -> list[str]:
        found = []
        if self._homeless:
            found.append(f"columns whose names mean something else to Tianshou: {listed(self._homeless)}")
        if self._spec.episode_columns:
            found.append(f"what each episode has once: {listed(self._spec.episode_columns)}")
        whole = [*self._spec.extras, *self._buffer.metadata.get("scalars", {})]
        if whole:
            found.append(f"what the buffer has once: {listed(whole)}")
        return found

    def _lost_ends(self) -> list[str]:
        found = []
        if TIMEOUTS not in self._spec.columns:
            found.append("that time limits are not known: truncated is False, but where an episode was cut")
        if len(self._unmarked):
            found.append(
                f"that {len(self._unmarked):,} episodes were cut with neither terminal nor timeout: they are marked "
                "truncated, or Tianshou would go on into the next one"
            )
        if self._flags_inside:
            found.append(
                f"that play goes on after {self._flags_inside:,} terminals or timeouts: Tianshou ends an episode "
                "at each"
            )
        if self._in_order:
            not_whole = ~self._buffer.arrays[EPISODE_WHOLE].all()
            ended = self.done[self._last_rows]
            ended[np.searchsorted(self._last_rows, self._unmarked)] = False
            lost = int((not_whole & ended).sum())
            if lost:
                found.append(f"that {lost:,} episodes were not recorded from beginning to end (episodes/whole)")
        else:
            found.append(
                "that rows are independent: Tianshou takes neighbours for consecutive steps, so only targets of one "
                "step (n_step_return_horizon=1) are right, and no returns"
            )
        return found

    def _lost_observations(self) -> list[str]:
        unknown = len(self._buffer.rows_without_next)
        found = []
        if not self._stores_next and self._next_is_known:
            known = self._buffer.num_episodes - unknown
            found.append(
                f"the last observation of {known:,} episodes: where frames are stored once, Tianshou gives the last "
                "row's own observation as its next one"
            )
        elif not self._stores_next:
            found.append(
                "that the last observation of each episode is not known: Tianshou gives the last row's own as its next "
                "one"
            )
        elif unknown:
            found.append(
                f"that next_observations of {unknown:,} rows that end an episode are not known: the row's own "
                "observation stands there"
            )
        if self._frames_once:
            padded = self._num_padded_otherwise()
            if padded:
                found.append(
                    f"the frames before the first one of {padded:,} episodes: Tianshou repeats the first frame there"
                )
        return found

    def _num_padded_otherwise(self) -> int:
        """Count the episodes whose first stack is not their first frame, repeated."""
        step = block_rows(self._buffer)
        count = 0
        for first in range(0, len(self._starts), step):
            stacks = self._buffer.rows(self._starts[first : first + step], [OBSERVATIONS])[OBSERVATIONS]
            count += int((stacks != stacks[:, -1:]).any(axis=(1, 2, 3)).sum())
        return count


def _part(rows: Array, start: int, stop: int) -> Array:
    return rows[start:stop]
