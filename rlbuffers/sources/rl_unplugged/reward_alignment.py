"""Which row's reward goes with which change of the picture: measured, because documents were wrong about it.

A game redraws its score when points are made, so some row of the picture changes from one frame to the
next just when there was a reward. For each offset k, whether a row of the picture changed between
frames t and t + 1 is correlated with whether reward t + k is not 0 (the phi coefficient of the
two); the row of the picture that fits best counts. An offset of 0 means that reward t came with the frame after
action t.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["OFFSETS", "SCORE_LAGS", "EpisodeAlignment", "LooseAlignment", "RewardAlignment"]

Array = np.ndarray[Any, Any]
OFFSETS = (-2, -1, 0, 1, 2)
# Fewer rewards than this coincide with anything; a weaker strength is no redrawn score.
_ENOUGH_REWARDS = 10
_STRONG = 0.5
_CLEARLY = 0.2
# So many rewards of loose steps, none of which the picture shows, are no accident.
_MANY_REWARDS = 50

# Steps from a reward to the change of the picture that shows it, as `benchmarks/score_lags.py` measured in the emulator
# (ale-py 0.12.1). Where random play shows no clear answer, a game is left out.
SCORE_LAGS: Mapping[str, int] = {
    "Alien": 0,
    "Asterix": 0,
    "Atlantis": 0,
    "BattleZone": 0,
    "Boxing": 0,
    "Carnival": 0,
    "Centipede": 0,
    "ChopperCommand": 0,
    "CrazyClimber": 0,
    "DoubleDunk": 0,
    "Frostbite": 0,
    "Gopher": 0,
    "KungFuMaster": 0,
    "MsPacman": 0,
    "Phoenix": 0,
    "Pong": 1,
    "Pooyan": 0,
    "Riverraid": 0,
    "Seaquest": 0,
    "StarGunner": 0,
    "UpNDown": 1,
    "WizardOfWor": 0,
}


class RewardAlignment:
    """Counts over the frames of a shard."""

    def __init__(self) -> None:
        self.rewards = 0
        self._steps = dict.fromkeys(OFFSETS, 0)
        self._rewarded = dict.fromkeys(OFFSETS, 0)
        self._changed: dict[int, Array] = {}
        self._both: dict[int, Array] = {}

    def add(self, frames: Array, rewards: Array) -> None:
        """Look at consecutive steps.

        Parameters
        ----------
        frames : uint8, shape (T, H, W)
            What was seen before each step; a multiple of 4 bytes wide.
        rewards : float, shape (T,)
            As the file has them.
        """
        rewarded = rewards != 0
        self.rewards += int(rewarded.sum())
        changes = _changes(frames[:-1], frames[1:])
        for offset in OFFSETS:
            first, last = max(0, -offset), min(len(changes), len(rewarded) - offset)
            if last > first:
                self._count(offset, changes[first:last], rewarded[first + offset : last + offset])

    def add_windows(self, windows: Array, rewards: Array) -> None:
        """Look at loose steps, each with the frames that led to it.

        Parameters
        ----------
        windows : uint8, shape (N, K, H, W)
            The stack before each step, and the frame after it; the last change is the step's own.
        rewards : float, shape (N,)
            Of the steps. Offsets below 0 cannot be seen.
        """
        rewarded = rewards != 0
        self.rewards += int(rewarded.sum())
        last = windows.shape[1] - 1
        for offset in OFFSETS:
            if 0 <= offset < last:
                changes = _changes(windows[:, last - offset - 1], windows[:, last - offset])
                self._count(offset, changes, rewarded)

    def merge(self, other: RewardAlignment) -> None:
        """Add the counts of other steps."""
        self.rewards += other.rewards
        for offset in OFFSETS:
            self._steps[offset] += other._steps[offset]
            self._rewarded[offset] += other._rewarded[offset]
            for counts, more in ((self._changed, other._changed), (self._both, other._both)):
                if offset in more:
                    counts[offset] = counts.get(offset, 0) + more[offset]

    def _count(self, offset: int, changes: Array, rewarded: Array) -> None:
        self._steps[offset] += len(rewarded)
        self._rewarded[offset] += int(rewarded.sum())
        for counts, rows in ((self._changed, changes), (self._both, changes[rewarded])):
            counts[offset] = counts.get(offset, 0) + rows.sum(axis=0, dtype=np.int64)

    def strengths(self) -> dict[int, float]:
        """Return the correlation at each offset that was seen: 1 if a row changes with rewards and never else."""
        return {offset: self._strength(offset) for offset in OFFSETS if self._steps[offset]}

    def _strength(self, offset: int) -> float:
        steps, rewarded = self._steps[offset], self._rewarded[offset]
        changed, both = (counts[offset].astype(np.float64) for counts in (self._changed, self._both))
        spread = np.sqrt(rewarded * (steps - rewarded) * changed * (steps - changed))
        above = steps * both - rewarded * changed
        return float(np.divide(above, spread, out=np.zeros_like(above), where=spread > 0).max())

    @property
    def best_offset(self) -> int | None:
        """The offset with the greatest strength, if there are rewards enough and it is strong."""
        strengths = self.strengths()
        if self.rewards < _ENOUGH_REWARDS or not strengths:
            return None
        best = max(strengths, key=lambda offset: strengths[offset])
        return best if strengths[best] >= _STRONG else None

    def contradicts(self, offset: int) -> bool:
        """Whether the picture clearly changes at another offset."""
        best, strengths = self.best_offset, self.strengths()
        return best not in (None, offset) and strengths[best] > strengths.get(offset, 0.0) + _CLEARLY

    def to_json(self) -> dict[str, Any]:
        """Return what was found, for the metadata's ``measurements``."""
        best, strengths = self.best_offset, self.strengths()
        return {
            "best_offset": "unclear" if best is None else best,
            "strength": round(max(strengths.values(), default=0.0), 3),
            "rewards": self.rewards,
            "strengths": {f"{offset:+d}" if offset else "0": round(value, 3) for offset, value in strengths.items()},
        }


class EpisodeAlignment:
    """Whether the rewards of whole episodes stand where the reader takes them to stand: one row early.

    Parameters
    ----------
    game : str
        Name in the suite.
    """

    def __init__(self, game: str) -> None:
        self._measured = RewardAlignment()
        lag = SCORE_LAGS.get(game)
        self._expected = None if lag is None else -1 - lag

    def add(self, frames: Array, rewards: Array) -> None:
        """Look at an episode: the frame before each action, and the reward that the reader gave to it."""
        self._measured.add(frames, np.append(rewards[1:], np.zeros(1, rewards.dtype)))

    def to_json(self) -> dict[str, Any]:
        """Return what was found, in rows of the file."""
        return _told(self._measured, self._expected)

    def warnings(self) -> list[str]:
        """Contradict the reader, if the picture does."""
        return _contradiction(self._measured, self._expected)


class LooseAlignment:
    """What the frames of loose steps tell of their rewards, which are read as the outcome of the step's action.

    Parameters
    ----------
    game : str
        Name in the suite.
    """

    def __init__(self, game: str) -> None:
        self._measured = RewardAlignment()
        lag = SCORE_LAGS.get(game)
        self._expected = None if lag is None else -lag

    def add(self, part: RewardAlignment) -> None:
        """Add what was measured on some of the steps."""
        self._measured.merge(part)

    def to_json(self) -> dict[str, Any]:
        """Return what was found, in rows of the file."""
        return _told(self._measured, self._expected)

    def warnings(self) -> list[str]:
        """Contradict the reader, if the picture does, or say that it shows no reward where it should."""
        measured = self._measured
        shown = measured.strengths().get(0, 1.0) if self._expected == 0 else 1.0
        if measured.best_offset is None and measured.rewards >= _MANY_REWARDS and shown < _CLEARLY:
            return [
                f"THE PICTURE DOES NOT CHANGE WITH THE REWARDS ({measured.rewards:,} of them, strength {shown:.2f}), "
                "as it does in this game when rewards stand with the actions that earned them. In the episodes "
                "published from the same runs rewards stand one row early, which would look like this. They are "
                "stored as the file has them; see measurements.reward_alignment before learning from them."
            ]
        return _contradiction(measured, self._expected)


def _told(measured: RewardAlignment, expected: int | None) -> dict[str, Any]:
    return {"expected_offset": "unknown for this game" if expected is None else expected, **measured.to_json()}


def _contradiction(measured: RewardAlignment, expected: int | None) -> list[str]:
    if expected is None or not measured.contradicts(expected):
        return []
    best, strengths = measured.best_offset, measured.strengths()
    return [
        f"THE REWARDS SEEM TO STAND IN OTHER ROWS than this reader takes them to stand: the picture changes with the "
        f"reward at offset {best:+d} (strength {strengths[best or 0]:.2f}), where {expected:+d} was expected "
        f"({strengths.get(expected, 0.0):.2f}). They are stored as the reader takes them; look at "
        "measurements.reward_alignment, and at the frames, before learning from them."
    ]


def _changes(before: Array, after: Array) -> Array:
    """Return which rows of pictures differ: bool, shape (N, H)."""
    # Four pixels at a time.
    words = [np.ascontiguousarray(frames).view(np.uint32) for frames in (before, after)]
    different: Array = (words[0] != words[1]).any(axis=-1)
    return different
