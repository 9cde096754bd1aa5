"""Flat arrays of consecutive steps, cut into episodes where flags say so.

D4RL files and all that imitates them hold one array a column, and row i + 1 follows row i unless an
episode ends at i. What they have in common is here: telling columns from the rest
(:func:`sort_arrays`) and cutting (:func:`cut_episodes`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from rlbuffers.episode import Episode
from rlbuffers.errors import FormatError
from rlbuffers.schema import (
    ACTIONS,
    REWARDS,
    TERMINALS,
    TIMEOUTS,
    is_observation,
    next_name,
)

__all__ = [
    "SortedArrays",
    "cut_episodes",
    "ended_by_timeout",
    "episode_bounds",
    "flat_column",
    "is_storable",
    "scalar_facts",
    "sort_arrays",
]

Array = np.ndarray[Any, Any]
_FLAGS = (TERMINALS, TIMEOUTS)
_STORABLE = "biuf"
_MAX_ITEM_BYTES = 8
# Arrays in this folder belong to the whole, even one that happens to have as many rows as the columns.
_WHOLE = "metadata/"


class SizedArray(Protocol):
    """What is asked of an array before it is read."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of an item."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of all axes."""


@dataclass(frozen=True)
class SortedArrays:
    """Names by what they are, each kind in the order in which it was given.

    Parameters
    ----------
    columns : list of str
        One row a step.
    extras : list of str
        Arrays of another length, or of the folder ``metadata``: they belong to the data as a whole.
    scalars : list of str
        Single numbers and texts.
    left_out : list of str
        Sentences about arrays that cannot be stored.
    """

    columns: list[str]
    extras: list[str]
    scalars: list[str]
    left_out: list[str]


def sort_arrays(arrays: Mapping[str, SizedArray], called: Mapping[str, str], where: str) -> SortedArrays:
    """Tell columns from arrays and scalars of the whole, and check that what is needed has a row a step.

    Parameters
    ----------
    arrays : mapping of name to array
        Under the names of the schema, actions among them; only dtypes and shapes are looked at.
    called : mapping of name to str
        What each is called in the file, for messages.
    where : str
        What is read, for messages.

    Raises
    ------
    FormatError
        If there are no rows; or observations, actions, rewards, terminals, timeouts or next observations have
        another number of rows than the rewards (without them: than the actions), or hold no numbers; or next
        observations have rows of another shape than the observations.
    """
    observed = [name for name in arrays if is_observation(name)]
    first = REWARDS if REWARDS in arrays else ACTIONS
    count = arrays[first].shape[0] if arrays[first].shape else 1
    if count == 0:
        raise FormatError(f"{where}: expected transitions, found none")
    needed = {*observed, ACTIONS, REWARDS, *_FLAGS, *(next_name(name) for name in observed)}
    found = SortedArrays([], [], [], [])
    for name, array in arrays.items():
        dtype, shape = array.dtype, array.shape
        if name in needed and (not shape or shape[0] != count):
            rows = f"{shape[0]:,} rows" if shape else "a scalar"
            raise FormatError(
                f"{where}: expected {count:,} rows in {called[name]!r}, like {called[first]!r}; found {rows}"
            )
        if name in needed and not is_storable(dtype):
            raise FormatError(f"{where}: expected numbers of at most 8 bytes in {called[name]!r}, found {dtype}")
        if not shape and dtype.kind in _STORABLE + "USO":
            found.scalars.append(name)
        elif not is_storable(dtype) or math.prod(shape) == 0:
            found.left_out.append(f"{called[name]!r}, whose dtype {dtype} or shape {shape} cannot be stored")
        elif shape[0] == count and not name.startswith(_WHOLE):
            found.columns.append(name)
        else:
            found.extras.append(name)
    for name in observed:
        shape, following = arrays[name].shape[1:], next_name(name)
        if following in arrays and arrays[following].shape[1:] != shape:
            raise FormatError(
                f"{where}: expected rows of shape {shape} in {called[following]!r}, like {called[name]!r}; found "
                f"{arrays[following].shape[1:]}"
            )
    return found


def is_storable(dtype: np.dtype[Any]) -> bool:
    """Whether a column of a buffer can have this dtype."""
    return dtype.kind in _STORABLE and dtype.itemsize <= _MAX_ITEM_BYTES


def flat_column(name: str, rows: Array, where: str) -> Array:
    """Return rewards and flags of shape (N,), flags as bool; everything else as it is.

    Raises
    ------
    FormatError
        If these are several numbers a row, or a flag is NaN, which is neither yes nor no.
    """
    if name in (REWARDS, *_FLAGS) and rows.ndim != 1:
        if rows.shape[1:] != (1,):
            raise FormatError(f"{where}: expected one number a row in {name!r}, found rows of shape {rows.shape[1:]}")
        rows = rows[:, 0]
    if name not in _FLAGS:
        return rows
    if rows.dtype.kind == "f" and np.isnan(rows).any():
        raise FormatError(f"{where}: expected flags in {name!r}, found NaN in row {int(np.isnan(rows).argmax()):,}")
    flags: Array = rows != 0
    return flags


def scalar_facts(scalars: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Describe numbers and texts for the metadata's ``scalars``, which are JSON.

    Parameters
    ----------
    scalars : mapping of name to numpy scalar, 0-d array, bytes or str
        Bytes must be ASCII, and numbers finite; there is no word for others.

    Returns
    -------
    facts : dict
        Name to ``{"dtype": ..., "value": ...}``.
    left_out : list of str
        A sentence for each of which nothing can be said.
    """
    facts = {name: _scalar_fact(np.asarray(scalar)) for name, scalar in scalars.items()}
    left_out = [f"{name!r}, whose value cannot be stored" for name, fact in facts.items() if fact is None]
    return {name: fact for name, fact in facts.items() if fact is not None}, left_out


def _scalar_fact(scalar: Array) -> dict[str, Any] | None:
    if scalar.size != 1:
        return None
    item = scalar.item()
    if isinstance(item, bytes):
        dtype = scalar.dtype.str[1:] if scalar.dtype.kind == "S" else "str"
        return {"dtype": dtype, "value": item.decode("ascii")} if item.isascii() else None
    if isinstance(item, str):
        return {"dtype": "str", "value": item}
    return {"dtype": scalar.dtype.name, "value": item} if is_storable(scalar.dtype) and math.isfinite(item) else None


def episode_bounds(ends: Array) -> list[tuple[int, int]]:
    """Return (start, stop) of each episode, given where one ends: bool, shape (N,).

    Rows after the last end are an episode of their own.
    """
    stops = np.flatnonzero(ends) + 1
    if len(ends) and (not len(stops) or stops[-1] != len(ends)):
        stops = np.append(stops, len(ends))
    starts = np.concatenate([[0], stops[:-1]])
    return list(zip(starts.tolist(), stops.tolist(), strict=True))


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


def ended_by_timeout(episode: Episode) -> Episode:
    """Return an episode as one that only a timeout makes whole, as where a terminal is a goal."""
    whole = TIMEOUTS in episode.columns and bool(episode.columns[TIMEOUTS][-1])
    return dataclasses.replace(episode, whole=whole)
