"""What a user must know of a buffer's content, said from its metadata: the writer noticed it while it wrote.

`info`, `card`, `report`, `train` and the closing lines of `convert` say it without a look at the data. `validate` looks
at the data, and uses the same words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlbuffers.metadata import episode_statistics
from rlbuffers.schema import EPISODES_GROUP, EXTRAS_GROUP, FRAMES

__all__ = [
    "NOTICED",
    "content_notes",
    "content_warnings",
    "equal_ends",
    "equal_ends_text",
    "long_episodes_text",
    "not_finite_text",
    "partial_episodes_text",
    "time_limit_of",
]

Array = np.ndarray[Any, Any]
Facts = Mapping[str, Any]
NOTICED = "noticed"
# Fewer episodes of one length may be chance.
_EPISODES_OF_ONE_LENGTH = 5
_MOST_COLUMNS = 6


def content_warnings(metadata: Facts) -> list[str]:
    """Say what is wrong with the values or the ends of episodes, a sentence each; empty where nothing was noticed.

    Parameters
    ----------
    metadata : mapping
        Of a buffer. Of one that was written before this was noticed, only what its statistics say is known.
    """
    noticed = metadata.get(NOTICED, {})
    bad = noticed.get("not_finite")
    if bad is None:
        bad = {
            name: {"values": found["not_finite"]}
            for name, found in metadata["statistics"].items()
            if isinstance(found, dict) and "not_finite" in found
        }
    found = [
        not_finite_text(name, counts["values"], counts.get("rows"), counts.get("first_row"))
        for name, counts in list(bad.items())[:_MOST_COLUMNS]
    ]
    if len(bad) > _MOST_COLUMNS:
        found.append(f"{len(bad) - _MOST_COLUMNS:,} more columns hold values that are NaN or infinite")
    ends = noticed.get("equal_ends")
    limit = time_limit_of(metadata)
    return [*found, *([equal_ends_text(ends["episodes"], ends["steps"], limit)] if ends else [])]


def content_notes(metadata: Facts) -> list[str]:
    """Say what is special about episodes: longer than their limit, or not recorded to their end; a sentence each.

    Parameters
    ----------
    metadata : mapping
        Of a buffer.
    """
    counts, limit = metadata["counts"], time_limit_of(metadata)
    if metadata["spec"]["layout"] != "episodes":
        return []
    longest = (episode_statistics(metadata, "episode_lengths", "max") or {}).get("max", 0)
    notes = [long_episodes_text(longest, limit)] if limit is not None and longest > limit else []
    partial = counts.get("episodes", 0) - counts.get("whole_episodes", counts.get("episodes", 0))
    return [*notes, *([partial_episodes_text(partial)] if partial > 0 else [])]


def time_limit_of(metadata: Facts) -> int | None:
    """Return the number of steps after which the environment ends an episode, or None where none is stated."""
    environment = metadata.get("environment") or {}
    stated = [environment.get(name) for name in ("max_episode_steps", "horizon")]
    return next((int(value) for value in stated if type(value) is int and value > 0), None)


def not_finite_text(name: str, values: int, rows: int | None = None, first_row: int | None = None) -> str:
    """Say how many values of a stored array are NaN or infinite, and where.

    Parameters
    ----------
    name : str
        Of the array.
    values : int
        How many.
    rows, first_row : int, optional
        In how many rows, and in which one first.
    """
    unit = "row"
    for start, word in ((FRAMES, "frame"), (f"{EPISODES_GROUP}/", "episode"), (f"{EXTRAS_GROUP}/", "entry")):
        unit = word if name.startswith(start) else unit
    text = f"{name!r} holds {'1 value that is' if values == 1 else f'{values:,} values that are'} NaN or infinite"
    if rows is None or first_row is None:
        return text
    units = "entries" if unit == "entry" else f"{unit}s"
    where = f"in {unit} {first_row:,}" if rows == 1 else f"in {rows:,} {units}, the first of them {unit} {first_row:,}"
    return f"{text}, {where}"


def equal_ends(lengths: Array, ended: Array, whole: Array, *, inside: bool, by_timeout: bool) -> dict[str, int] | None:
    """Find terminals that only mark the ends of episodes of one length, as a time limit or a recording would end them.

    Parameters
    ----------
    lengths : int, shape (E,)
        Steps of each episode.
    ended, whole : bool, shape (E,)
        Whether its last row is terminal, and whether it was recorded from beginning to end.
    inside : bool
        Whether terminals stand before the end of an episode.
    by_timeout : bool
        Whether some timeout is not terminal.

    Returns
    -------
    dict or None
        ``episodes``, how many end so, and ``steps``, their length; None where something else ends episodes, too.
    """
    if by_timeout or inside or (whole & ~ended).any():
        return None
    if len(lengths) > 1 and lengths[-1] < lengths[0]:  # the recording may have stopped before the last limit
        ended = ended & (np.arange(len(ended)) < len(ended) - 1)
    lengths = lengths[ended]
    if len(lengths) < _EPISODES_OF_ONE_LENGTH or lengths.min() != lengths.max() or lengths[0] == 1:
        return None
    return {"episodes": len(lengths), "steps": int(lengths[0])}


def equal_ends_text(episodes: int, steps: int, limit: int | None) -> str:
    """Say what it means that so many episodes of one length end by a terminal; see `equal_ends`."""
    return (
        f"{episodes:,} episodes have {steps:,} steps each{', the time limit,' * (steps == limit)} and end by a "
        "terminal, and none ends by a timeout. If a time limit or the end of the recording ends them, these terminals "
        "are timeouts, and a value function stops at each of them instead of bootstrapping. How the data were recorded "
        "settles it: convert them again with this flag as the timeouts (`--map terminals=timeouts` for d4rl and npz), "
        "or leave it if the task itself ends after so many steps"
    )


def long_episodes_text(longest: float, limit: int, count: int | None = None) -> str:
    """Say that episodes are longer than the environment lets them be; how many of them, where that is known."""
    some = "Episodes are" if count is None else f"{count:,} episodes are" if count != 1 else "1 episode is"
    return (
        f"{some} longer than the stated limit of {limit:,} steps; the longest has {longest:,.0f}. Either the data were "
        "recorded without this limit, or ends of episodes are missing"
    )


def partial_episodes_text(count: int) -> str:
    """Say what is unknown of episodes that were not recorded from beginning to end."""
    which = "1 episode was" if count == 1 else f"{count:,} episodes were"
    return (
        f"{which} not recorded from beginning to end (episodes/whole is False): returns, and returns-to-go, count the "
        "recorded rewards only"
    )
