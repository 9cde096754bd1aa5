"""What is counted on both sides of a conversion, so that nothing is lost without a word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbuffers.errors import CorruptDataError
from rlbuffers.schema import REWARDS
from rlbuffers.stats import total_reward

if TYPE_CHECKING:
    from rlbuffers.reader import Buffer

__all__ = ["Tally", "require_equal", "tally_of"]

_SUM_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Tally:
    """Episodes, transitions and summed rewards of one side.

    Parameters
    ----------
    episodes : int or None
        None where that side knows of no episodes.
    transitions : int
        Number of rows.
    reward_sum : float
        Sum of all rewards, in double precision.
    """

    episodes: int | None
    transitions: int
    reward_sum: float


def tally_of(buffer: Buffer) -> Tally:
    """Count what a buffer holds, from its columns."""
    episodes = buffer.num_episodes if buffer.spec.layout == "episodes" else None
    rewards = buffer.arrays[REWARDS].all()
    return Tally(episodes, len(rewards), total_reward(rewards))


def require_equal(before: Tally, after: Tally, rewards: np.ndarray[Any, Any], where: str) -> None:
    """Compare what went in with what came out.

    Parameters
    ----------
    before, after : Tally
        Of the two sides; episodes are compared if both know them.
    rewards : array
        All rewards. Rewards of both signs may cancel, so the rounding of the sum is compared with
        the size of its terms.
    where : str
        What was written, for the message.

    Raises
    ------
    CorruptDataError
        If they differ; names the first count that does.
    """
    if before.transitions != after.transitions:
        raise CorruptDataError(
            f"{where}: {after.transitions:,} transitions were written of {before.transitions:,} read"
        )
    if None not in (before.episodes, after.episodes) and before.episodes != after.episodes:
        raise CorruptDataError(f"{where}: {after.episodes:,} episodes were written of {before.episodes:,} read")
    if not (np.isfinite(before.reward_sum) and np.isfinite(after.reward_sum)):
        return  # `finite-values` of validate and the readers of each format speak about these
    tolerance = _SUM_TOLERANCE * total_reward(np.abs(np.asarray(rewards, np.float64)))
    if abs(before.reward_sum - after.reward_sum) > tolerance:
        raise CorruptDataError(
            f"{where}: rewards sum to {after.reward_sum}, those of the source to {before.reward_sum}"
        )
