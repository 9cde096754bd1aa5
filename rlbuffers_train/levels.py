"""Levels of behavior policies in D4RL's sense, and where a medium one stops.

``random`` is an untrained policy, ``expert`` a fully trained one, ``medium`` one whose training stopped at about a
third of the way from the random to the expert return, ``medium-replay`` everything that was played until then.
"""

from __future__ import annotations

from rlbuffers.errors import UsageError

__all__ = ["LEVELS", "medium_return"]

LEVELS = ("random", "medium", "medium-replay", "expert")
# (random, expert): the reference returns by which D4RL normalizes scores.
_REFERENCE_RETURNS = {
    "HalfCheetah": (-280.178953, 12135.0),
    "Hopper": (-20.272305, 3234.3),
    "Walker2d": (1.629008, 4592.3),
}
_VERSIONS = ("v2", "v3", "v4", "v5")
_TASKS = {f"{name}-{version}": returns for name, returns in _REFERENCE_RETURNS.items() for version in _VERSIONS}


def medium_return(task: str) -> float:
    """Return the mean return at which the training of a medium policy stops.

    Raises
    ------
    UsageError
        If nobody published what an expert reaches in the task.
    """
    if task not in _TASKS:
        raise UsageError(
            f"what an expert reaches in {task} is not known; pass --stop-at, about a third of the way from an "
            "untrained policy's return to an expert's"
        )
    random, expert = _TASKS[task]
    return random + (expert - random) / 3.0
