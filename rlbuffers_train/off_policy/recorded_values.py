"""What a buffer alone says of values: where its episodes begin, what they earned, and what no policy can exceed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rlbuffers.errors import UsageError
from rlbuffers.reader import Buffer
from rlbuffers.schema import EPISODE_FINAL_KNOWN, EPISODE_WHOLE, REWARDS, TERMINALS
from rlbuffers.windows.episode_bounds import EpisodeBounds
from rlbuffers.windows.returns_to_go import returns_to_go

__all__ = ["RecordedEpisodes", "ValueScale", "recorded_episodes"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ValueScale:
    """Of which size the values of a buffer are.

    An episode that ends at each step with the data's share of terminals p has H = 1 / (1 - gamma (1 - p)) discounted
    steps. Values are then about H mean(r), and differ by about sqrt(H) rms(r).

    Parameters
    ----------
    center, spread : float
        Those two; the spread is 1 where every reward is 0.
    low, high : float
        No return of the rewards in the data lies below or above.
    """

    center: float
    spread: float
    low: float
    high: float

    @classmethod
    def of(cls, buffer: Buffer, gamma: float) -> ValueScale:
        """Look at all rewards of a buffer.

        Raises
        ------
        UsageError
            If gamma is 1 and nothing ever ends.
        """
        rewards = buffer.arrays[REWARDS].all().astype(np.float64)
        share = float(buffer.arrays[TERMINALS].all().mean())
        leak = 1.0 - gamma * (1.0 - share)
        if leak <= 0:
            raise UsageError(
                f"{buffer.path} has no terminals: with gamma 1 values have no bound; pass a smaller --gamma"
            )
        spread = float(np.sqrt(np.square(rewards).mean() / leak))
        # A return holds at least one reward, and at most 1 / (1 - gamma) of them.
        longest = 1.0 / (1.0 - gamma) if gamma < 1 else np.inf
        least, most = float(rewards.min()), float(rewards.max())
        low, high = (least * longest if least < 0 else least), (most * longest if most > 0 else most)
        return cls(float(rewards.mean()) / leak, spread or 1.0, low, high)


@dataclass(frozen=True)
class RecordedEpisodes:
    """E whole episodes of a buffer.

    Parameters
    ----------
    first_rows : int64, shape (E,)
        With which they begin.
    returns : float64, shape (E,)
        Discounted sums of their rewards, to the end of the task or of the recording.
    cut : int64, shape (C,)
        Which of them were cut while the task went on, by a timeout.
    cut_rows : int64, shape (C,)
        The last row of each of these.
    cut_discounts : float64, shape (C,)
        Weight of what would have followed: gamma to the number of steps.
    ends_known : bool
        Whether the observation after every cut is known.
    """

    first_rows: Array
    returns: Array
    cut: Array
    cut_rows: Array
    cut_discounts: Array
    ends_known: bool


def recorded_episodes(
    buffer: Buffer, gamma: float, most: int, generator: np.random.Generator
) -> RecordedEpisodes | None:
    """Return the whole episodes of a buffer, or as many as are asked for; None where it has none.

    Parameters
    ----------
    buffer : Buffer
        Of any layout.
    gamma : float
        Discount of one step.
    most : int
        Of more episodes, so many are drawn.
    generator : numpy.random.Generator
        Draws them.
    """
    if buffer.spec.layout != "episodes":
        return None
    whole = np.flatnonzero(buffer.arrays[EPISODE_WHOLE].all())
    if not len(whole):
        return None
    whole = np.sort(generator.permutation(whole)[:most])
    bounds = EpisodeBounds(buffer, "whole episodes")
    first = bounds.starts[whole]
    last = bounds.task_end_of(first)
    cut = np.flatnonzero(~bounds.is_terminal(last))
    return RecordedEpisodes(
        first_rows=first,
        returns=returns_to_go(buffer, buffer.arrays[REWARDS].all(), gamma)[first].astype(np.float64),
        cut=cut,
        cut_rows=last[cut],
        cut_discounts=gamma ** (last - first + 1.0)[cut],
        ends_known=bool(buffer.arrays[EPISODE_FINAL_KNOWN].all()[whole[cut]].all()),
    )
