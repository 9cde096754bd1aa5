"""What flat columns of consecutive steps tell of the ends of episodes, where their flags do not say all.

Next observations, where there are any, tell resets that no flag marks, or that they were made by
shifting the observations by a row. Long runs of terminals tell that a terminal is a goal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlbuffers.schema import TERMINALS, TIMEOUTS, is_observation, next_name

__all__ = [
    "ENDS_LOOKED_AT",
    "SHIFTED",
    "goal_rows",
    "goal_warning",
    "next_rows_follow",
    "reset_warnings",
    "unmarked_resets",
]

Array = np.ndarray[Any, Any]
# So many ends, the first ones, are enough to tell how next observations were made.
ENDS_LOOKED_AT = 16
# In data of unknown origin, so many terminals in a row are no episodes of one step, but a goal that play stays at.
_GOAL_RUN = 8
_MANY_RESETS = 0.1
SHIFTED = (
    "next_observations: at the ends of episodes they are the first observations of the next ones, so they were made by "
    "shifting the observations by a row, and the last observations are not known"
)


def unmarked_resets(columns: Mapping[str, Array], ends: Array) -> Array:
    """Find rows after which play jumped although no flag says so: bool, shape (N,).

    Such a row is no end, and its next observation is not the observation of the following row. NaN
    is equal to itself here. Without next observations nothing can be found.
    """
    found = np.zeros(len(ends), bool)
    for name, following in _following(columns).items():
        here, after = columns[name][1:], columns[following][:-1]
        different = (here != after) & ~((here != here) & (after != after))
        found[:-1] |= different.any(axis=tuple(range(1, different.ndim)))
    found &= ~ends
    found[-1:] = False
    return found


def reset_warnings(resets: int, num_rows: int | None = None) -> list[str]:
    """Say what was done about unmarked resets, if there are any; louder if `num_rows` tells that there are many."""
    if not resets:
        return []
    if num_rows is not None and resets > _MANY_RESETS * num_rows:
        return [
            f"THE ROWS DO NOT FOLLOW ONE ANOTHER: after {resets:,} of {num_rows:,} rows the next observation is not "
            "the following row's, although no flag says so. The episodes are cut there, with neither terminal nor "
            "timeout. Either the rows are shuffled, or next_observations are made otherwise than observations."
        ]
    return [
        f"After {resets:,} rows without a flag the next observation is not the following row's: play was reset "
        "there. The episode is cut, with neither terminal nor timeout, and episodes/whole is False."
    ]


def next_rows_follow(columns: Mapping[str, Array], rows: Array) -> bool:
    """Whether the next observations of some rows, none the last one, are the observations of the rows behind them.

    At rows that end an episode that means that next observations were made by shifting; at terminals,
    that play went on. True if there are no next observations.
    """
    return all(
        np.array_equal(columns[following][rows], columns[name][rows + 1], equal_nan=columns[name].dtype.kind == "f")
        for name, following in _following(columns).items()
    )


def goal_rows(flags: Mapping[str, Array]) -> Array:
    """Return the terminals that another one follows, in long runs between timeouts: rows, in order."""
    timeouts = flags.get(TIMEOUTS)
    if timeouts is None or not timeouts.any():
        return np.empty(0, np.int64)
    inside = flags[TERMINALS] & ~timeouts
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
    runs = edges.reshape(-1, 2)
    runs = runs[runs[:, 1] - runs[:, 0] >= _GOAL_RUN]
    return np.concatenate([np.empty(0, np.int64), *(np.arange(start, stop - 1) for start, stop in runs)])


def goal_warning(goals: int) -> str:
    """Say what was done about so many rows of `goal_rows`."""
    return (
        f"{goals:,} terminals stand in runs of at least {_GOAL_RUN}, between timeouts. They were taken for goals that "
        "play goes on from, as in AntMaze: only timeouts end an episode here. Say which it is with --terminals goal, "
        "or --terminals end if the task ended at each of them."
    )


def _following(columns: Mapping[str, Array]) -> dict[str, str]:
    """Return the name of its next observation for each observation that has one."""
    return {name: next_name(name) for name in columns if is_observation(name) and next_name(name) in columns}
