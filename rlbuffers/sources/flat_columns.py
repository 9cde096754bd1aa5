"""Flat arrays of consecutive steps, cut into episodes where flags say so.

D4RL files and all that imitates them hold one array a column, and row i + 1 follows row i unless an
episode ends at i. :func:`cut_episodes` is what they have in common.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rlbuffers.episode import Episode
from rlbuffers.schema import TERMINALS, TIMEOUTS, is_observation, next_name

__all__ = ["cut_episodes", "episode_bounds", "unmarked_resets"]

Array = np.ndarray[Any, Any]


def episode_bounds(ends: Array) -> list[tuple[int, int]]:
    """Return (start, stop) of each episode, given where one ends: bool, shape (N,).

    Rows after the last end are an episode of their own.
    """
    stops = np.flatnonzero(ends) + 1
    if len(ends) and (not len(stops) or stops[-1] != len(ends)):
        stops = np.append(stops, len(ends))
    starts = np.concatenate([[0], stops[:-1]])
    return list(zip(starts.tolist(), stops.tolist(), strict=True))


def unmarked_resets(columns: Mapping[str, Array], ends: Array) -> Array:
    """Find rows after which play jumped although no flag says so: bool, shape (N,).

    Such a row is no end, and its next observation is not the observation of the following row. NaN
    is equal to itself here. Without next observations nothing can be found.
    """
    found = np.zeros(len(ends), bool)
    for name in columns:
        if is_observation(name) and next_name(name) in columns:
            here, following = columns[name][1:], columns[next_name(name)][:-1]
            different = (here != following) & ~((here != here) & (following != following))
            found[:-1] |= different.reshape(len(different), -1).any(axis=1)
    found &= ~ends
    found[-1:] = False
    return found


def cut_episodes(
    columns: Mapping[str, Array], ends: Array, *, facts: Mapping[str, Any] | None = None
) -> Iterator[Episode]:
    """Cut flat columns into episodes.

    Parameters
    ----------
    columns : mapping of name to array of N rows
        Under the names of the schema; ``next_observations`` only gives the last observation of each
        episode and may be missing.
    ends : bool, shape (N,)
        Rows after which an episode ends.
    facts : mapping, optional
        Episode columns, the same for every episode.

    Yields
    ------
    Episode
        ``whole`` unless its last row is neither terminal nor a timeout.
    """
    following = {next_name(name): name for name in columns if is_observation(name)}
    for start, stop in episode_bounds(ends):
        rows = {name: values[start:stop] for name, values in columns.items() if name not in following}
        observations = {name: rows.pop(name) for name in list(rows) if is_observation(name)}
        for last, name in following.items():
            if last in columns:
                observations[name] = np.concatenate([observations[name], columns[last][stop - 1 : stop]])
        whole = any(name in rows and bool(rows[name][-1]) for name in (TERMINALS, TIMEOUTS))
        yield Episode(rows, observations, dict(facts or {}), whole)
