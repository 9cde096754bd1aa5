"""How many steps of each episode a format can hold that needs the observation after the last action.

Where the buffer does not know it, an episode that ended by a terminal gets the zeros that stand in its
place, since nobody bootstraps from there; of any other the last transition is left out, and its
observation is the last one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from rlbuffers.reader import Buffer
from rlbuffers.schema import EPISODE_LENGTHS, EPISODE_STARTS, EPISODE_WHOLE, REWARDS, TERMINALS, TIMEOUTS
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["KeptSteps"]

Array = np.ndarray[Any, Any]


class KeptSteps:
    """The rows of each episode that are written.

    Parameters
    ----------
    buffer : Buffer
        Of the ``episodes`` layout.

    Attributes
    ----------
    starts, stops : int64, shape (E,)
        Rows of each episode; `stops` are exclusive, and equal to `starts` where nothing is left of it.
    shortened : bool, shape (E,)
        Episodes that lost their last transition; their new last one is a timeout.
    """

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self.starts: Array = buffer.arrays[EPISODE_STARTS].all()
        stops = self.starts + buffer.arrays[EPISODE_LENGTHS].all()
        self._last = stops - 1
        unknown = np.isin(self._last, buffer.rows_without_next)
        terminal = self._flags(TERMINALS)
        self._zeros = int((unknown & terminal).sum())
        self.shortened: Array = unknown & ~terminal
        self.stops: Array = stops - self.shortened
        self._lost_rewards = total_reward(buffer.rows(self._last[self.shortened], [REWARDS])[REWARDS])

    def _flags(self, name: str) -> Array:
        """Return a flag of the last row of each episode."""
        known = name in self._buffer.spec.columns
        return self._buffer.rows(self._last, [name])[name] if known else np.zeros(len(self._last), bool)

    @property
    def cut_rows(self) -> Array:
        """The rows, int64, that end an episode now because its last transition was left out."""
        rows: Array = self.stops[self.shortened & (self.stops > self.starts)] - 1
        return rows

    @property
    def num_episodes(self) -> int:
        """Number of episodes of which something is left."""
        return int((self.stops > self.starts).sum())

    @property
    def num_steps(self) -> int:
        """Number of transitions that are written."""
        return int((self.stops - self.starts).sum())

    @property
    def num_untimed(self) -> int:
        """Number of episodes that are written and do not end by a timeout."""
        return int((~self._flags(TIMEOUTS) & ~self.shortened & (self.stops > self.starts)).sum())

    def expected(self, before: Tally) -> Tally:
        """Take off what the format cannot hold."""
        lost = int(self.shortened.sum())
        return Tally(self.num_episodes, before.transitions - lost, before.reward_sum - self._lost_rewards)

    def left_out(self) -> Iterator[str]:
        """Name what of the ends is lost, a sentence each."""
        lost, gone = int(self.shortened.sum()), len(self.starts) - self.num_episodes
        if lost:
            yield (
                f"the last transition of {lost:,} episodes without a terminal, as what it led to is not known (rewards "
                f"of {self._lost_rewards:,.6g}); they are marked truncated one step earlier"
            )
        if gone:
            yield f"{gone:,} episodes that consist of such a transition alone"
        if self._zeros:
            yield f"that the last observation of {self._zeros:,} terminal episodes is not known: zeros stand there"
        flagged = self._flags(TERMINALS) | self._flags(TIMEOUTS) | self.shortened
        partial = int((~self._buffer.arrays[EPISODE_WHOLE].all() & flagged).sum())
        if partial:
            yield f"that {partial:,} episodes were not recorded from beginning to end (episodes/whole)"
