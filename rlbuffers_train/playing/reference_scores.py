"""Which returns make a score of 0 and of 100, where somebody published them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlbuffers.environments import ATARI_SUFFIX
from rlbuffers.sources.d4rl.datasets import all_datasets
from rlbuffers_train.playing.atari_scores import ATARI_SCORES

__all__ = ["ReferenceScores", "d4rl_scores", "find_reference_scores"]

# The versions of gymnasium's that D4RL's scores of version 2 are customarily applied to.
_GYM_TASK = re.compile(r"(?P<name>\w+)-v[2-5]")


@dataclass(frozen=True)
class ReferenceScores:
    """Two mean returns that a score is measured between.

    Parameters
    ----------
    low, high : float
        What a random player reaches, and an expert or a human.
    about : str
        Whose scores these are.
    """

    low: float
    high: float
    about: str

    def normalize(self, mean_return: float) -> float:
        """Return 0 for `low`, 100 for `high`."""
        return 100.0 * (mean_return - self.low) / (self.high - self.low)

    def to_json(self) -> dict[str, Any]:
        """Return the values as JSON types."""
        return dict(vars(self))


def find_reference_scores(task: str, environment: Mapping[str, Any] | None = None) -> ReferenceScores | None:
    """Return the scores of a task, or None where none are known.

    Parameters
    ----------
    task : str
        Environment that is evaluated in.
    environment : mapping, optional
        What a buffer's metadata say of theirs: ``id`` and, from D4RL and Minari, ``reference_scores``.
    """
    recorded = _recorded_scores(task, environment or {})
    if recorded is not None:
        return recorded
    game = task.removesuffix(ATARI_SUFFIX)
    if task.endswith(ATARI_SUFFIX) and game in ATARI_SCORES:
        return ReferenceScores(*ATARI_SCORES[game], f"a random player's and a human tester's in {game}")
    return d4rl_scores(task)


def d4rl_scores(task: str) -> ReferenceScores | None:
    """Return what D4RL's random and expert policies reach in a task, or None."""
    matched = _GYM_TASK.fullmatch(task)
    original = f"{matched['name']}-v2" if matched else task
    for dataset in all_datasets().values():
        if dataset.environment == original and dataset.scores is not None:
            return ReferenceScores(*dataset.scores, f"D4RL's random and expert returns in {original}")
    return None


def _recorded_scores(task: str, environment: Mapping[str, Any]) -> ReferenceScores | None:
    scores = environment.get("reference_scores") or {}
    low, high = scores.get("min"), scores.get("max")
    if environment.get("id") != task or low is None or high is None or not low < high:
        return None
    return ReferenceScores(float(low), float(high), "the reference scores that the data bring")
