"""What is known once an episode, collected while a buffer is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from rlbuffers.schema import EPISODE_FINAL_KNOWN, EPISODE_LENGTHS, EPISODE_RETURNS, EPISODE_STARTS, EPISODE_WHOLE
from rlbuffers.stats import quantiles

__all__ = ["EpisodeFacts"]


class EpisodeFacts:
    """Starts, lengths, returns and flags of the episodes so far; none in the ``transitions`` layout."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.lengths: list[int] = []
        self._returns: list[float] = []
        self.whole: list[bool] = []
        self._final_known: list[bool] = []

    def __len__(self) -> int:
        return len(self.starts)

    def add(
        self,
        starts: Iterable[int],
        lengths: Iterable[int],
        returns: Iterable[float],
        whole: Iterable[bool],
        final_known: Iterable[bool],
    ) -> None:
        """Note the next episodes, one value an episode each.

        Parameters
        ----------
        starts : iterable of int
            First row in the buffer.
        lengths : iterable of int
            Steps.
        returns : iterable of float
            Sums of rewards.
        whole : iterable of bool
            Whether the episode was recorded to its end.
        final_known : iterable of bool
            Whether the observation after its last action is known.
        """
        self.starts.extend(starts)
        self.lengths.extend(lengths)
        self._returns.extend(returns)
        self.whole.extend(whole)
        self._final_known.extend(final_known)

    def stored(self) -> dict[str, Sequence[Any]]:
        """Return the values by the names of the arrays in which they are stored."""
        return {
            EPISODE_STARTS: self.starts,
            EPISODE_LENGTHS: self.lengths,
            EPISODE_RETURNS: self._returns,
            EPISODE_WHOLE: self.whole,
            EPISODE_FINAL_KNOWN: self._final_known,
        }

    def to_checkpoint(self) -> dict[str, Sequence[Any]]:
        """Return what cannot be worked out from the rows of an interrupted buffer; see `Checkpoints.take`."""
        return {"lengths": self.lengths, "whole": self.whole, "final_known": self._final_known}

    def counts(self) -> dict[str, int]:
        """Return how many there are, and how many of them are whole or lack their last observation."""
        counts = {"episodes": len(self), "whole_episodes": sum(self.whole)}
        if not all(self._final_known):
            counts["final_observations_unknown"] = self._final_known.count(False)
        return counts

    def statistics(self) -> dict[str, Any]:
        """Return how lengths, and returns of whole episodes, are spread; nothing where there are none."""
        found: dict[str, Any] = {}
        if self.lengths:
            found["episode_lengths"] = quantiles(np.array(self.lengths))
        whole_returns = np.array(self._returns)[np.array(self.whole, bool)]
        if len(whole_returns) and np.isfinite(whole_returns).all():
            found["episode_returns"] = quantiles(whole_returns)
        return found
