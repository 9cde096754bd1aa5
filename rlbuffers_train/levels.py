"""Levels of behavior policies in D4RL's sense, and where a medium one stops.

``random`` is an untrained policy, ``expert`` a fully trained one, ``medium`` one whose training stopped at about a
third of the way from the random to the expert return, ``medium-replay`` everything that was played until then.
"""

from __future__ import annotations

from rlbuffers.errors import UsageError

__all__ = ["LEVELS", "medium_return"]

LEVELS = ("random", "medium", "medium-replay", "expert")


def medium_return(task: str, named: str = "stop_at") -> float:
    """Return the mean return at which the training of a medium policy stops.

    Raises
    ------
    UsageError
        If nobody published what an expert reaches in the task.
    """
    from rlbuffers_train.playing.reference_scores import d4rl_scores  # the command line asks for LEVELS only

    scores = d4rl_scores(task)
    if scores is None:
        raise UsageError(
            f"what an expert reaches in {task} is not known; pass {named}, about a third of the way from an "
            "untrained policy's return to an expert's"
        )
    return scores.low + (scores.high - scores.low) / 3.0
