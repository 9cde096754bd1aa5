"""What the last row of an ordered Atari episode is: the last transition, or only the last observation.

The publisher does not say. TFDS's reader takes the row of a terminal episode for a bare observation,
whose action and reward mean nothing; the data come from replay buffers, which hold no such row. Each
shard tells: an action or a reward that is not 0 belongs to a transition, and an episode's return
either counts the last reward or does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

__all__ = ["LAST_ROW_READINGS", "LastRow", "LastRowEvidence"]

Array = np.ndarray[Any, Any]
LastRow = Literal["transition", "observation"]
LAST_ROW_READINGS = ("auto", "transition", "observation")
# A DQN plays action 0 often; fewer episodes than this could all end with it by chance.
_ENOUGH_EPISODES = 10
_CHECKPOINT_ROWS = 1_000_000
_RETURN_TOLERANCE = 1e-3


@dataclass
class LastRowEvidence:
    """Counts over the episodes of a shard.

    Parameters
    ----------
    episodes, rows : int
        How many there are.
    rewards, actions : int
        Episodes whose last reward, or last action, is not 0.
    counting, omitting : int
        Of those with such a reward, the ones whose return does, or does not, count it.
    """

    episodes: int = 0
    rows: int = 0
    rewards: int = 0
    actions: int = 0
    counting: int = 0
    omitting: int = 0

    def add(self, actions: Array, rewards: Array, stated_return: float) -> None:
        """Look at an episode of at least one row."""
        self.episodes += 1
        self.rows += len(actions)
        self.actions += int(actions[-1] != 0)
        if rewards[-1] != 0:
            total = float(np.asarray(rewards, np.float64).sum())
            self.rewards += 1
            self.counting += int(abs(total - stated_return) < _RETURN_TOLERANCE)
            self.omitting += int(abs(total - float(rewards[-1]) - stated_return) < _RETURN_TOLERANCE)

    @property
    def verdict(self) -> LastRow:
        """The reading that fits better."""
        if self.counting != self.omitting:
            return "transition" if self.counting > self.omitting else "observation"
        return "transition" if self.rewards or self.actions else "observation"

    @property
    def size_fits(self) -> LastRow | None:
        """The reading that makes the shard a checkpoint of a million transitions, if one does."""
        if abs(self.rows - _CHECKPOINT_ROWS) < self.episodes / 2:
            return "transition"
        if abs(self.rows - self.episodes - _CHECKPOINT_ROWS) < self.episodes / 2:
            return "observation"
        return None

    def doubts(self) -> list[str]:
        """Say what speaks against the verdict, or that little speaks for it."""
        found = []
        if min(self.counting, self.omitting):
            found.append(f"{self.counting:,} returns count the last reward and {self.omitting:,} do not")
        elif not self.counting and not self.omitting and self.episodes < _ENOUGH_EPISODES:
            found.append(f"only {self.episodes:,} episodes speak for it")
        if self.size_fits not in (None, self.verdict):
            found.append(f"the {self.rows:,} rows fit {self.size_fits!r}")
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the counts, for the metadata's ``measurements``."""
        return {
            "evidence_for": self.verdict,
            "episodes": self.episodes,
            "rows": self.rows,
            "last_rewards_not_zero": self.rewards,
            "last_actions_not_zero": self.actions,
            "returns_that_count_it": self.counting,
            "returns_that_omit_it": self.omitting,
            "size_of_a_checkpoint_fits": self.size_fits or "neither",
        }
