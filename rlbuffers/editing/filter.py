"""`filter`: the episodes, or independent transitions, of which a condition is true."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.editing.derivation import BufferOrPath, EditReport, OnProgress, derive, opened
from rlbuffers.editing.episode_ids import EPISODE_RETURNS_COLUMN, ids_of_episodes
from rlbuffers.editing.expressions import Expression
from rlbuffers.errors import UnsupportedError, UsageError
from rlbuffers.exports.base import episode_blocks
from rlbuffers.reader import Buffer
from rlbuffers.schema import (
    EPISODE_IDS,
    EPISODE_LENGTHS,
    EPISODE_RETURNS,
    EPISODE_STARTS,
    EPISODE_WHOLE,
    EPISODES_GROUP,
    TERMINALS,
    TIMEOUTS,
    ColumnSpec,
)
from rlbuffers.sources.buffer_selection import BufferSelection

__all__ = ["filter_buffer", "known_names", "matching"]

Array = np.ndarray[Any, Any]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
# Decoded values of the columns that a condition needs, widened to 8 bytes each.
_BLOCK_BYTES = 32 << 20
_WIDE_BYTES = 8


def filter_buffer(
    buffer: BufferOrPath,
    output: str | Path,
    where: str | None = None,
    *,
    top_returns: float | None = None,
    min_length: int | None = None,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> EditReport:
    """Write what satisfies all conditions as a new buffer; public as ``rlbuffers.filter``.

    Of a buffer of episodes whole episodes are chosen, of independent transitions rows.

    Parameters
    ----------
    buffer : Buffer, str or Path
        What to choose from.
    output : str or Path
        The new buffer.
    where : str, optional
        A condition; see `rlbuffers.editing.expressions` and docs/managing.md.
    top_returns : float, optional
        Keep this fraction of the episodes that are left, above 0 and at most 1: those with the
        highest returns, at least one; of equal ones the earlier. Episodes that were not recorded
        as a whole have no full return and are left out. Independent transitions are ranked by
        ``episode_returns`` and kept or left by ``episode_ids``.
    min_length : int, optional
        Keep episodes of at least so many steps.
    overwrite : bool, default False
        Whether an existing buffer is replaced once the new one is whole.
    on_progress : callable, optional
        Is given (transitions so far, transitions in all) while writing.

    Raises
    ------
    UsageError
        If there is no condition, it cannot be understood, or nothing satisfies it.
    UnsupportedError
        If independent transitions do not hold what a condition is about.

    Examples
    --------
    >>> import rlbuffers
    >>> report = rlbuffers.filter("runs.hdf5", "long.hdf5", "length >= 30 and not timeout")
    >>> report.written.episodes
    2
    >>> rlbuffers.filter("runs.hdf5", "best.hdf5", top_returns=0.5).written.transitions
    70
    """
    with opened(buffer) as parent:
        if where is None and top_returns is None and min_length is None:
            raise UsageError("say what to keep: by a condition (where), top_returns or min_length")
        kept = np.ones(parent.num_episodes if _in_episodes(parent) else len(parent), np.bool_)
        if where is not None:
            kept &= matching(parent, where)
        if min_length is not None:
            if not _in_episodes(parent):
                raise UnsupportedError(f"{parent.path}: independent transitions have no length; use where")
            kept &= parent.arrays[EPISODE_LENGTHS].all() >= min_length
        if top_returns is not None:
            kept &= _with_top_returns(parent, kept, top_returns)
        if not kept.any():
            what = "episode" if _in_episodes(parent) else "transition"
            raise UsageError(f"{parent.path}: no {what} of {len(kept):,} is left; {_range_of_returns(parent)}")
        asked = {"where": where, "top_returns": top_returns, "min_length": min_length}
        return derive(
            BufferSelection(parent, np.flatnonzero(kept)),
            output,
            "filter",
            {name: value for name, value in asked.items() if value is not None},
            [parent],
            overwrite=overwrite,
            on_progress=on_progress,
        )


def _in_episodes(buffer: Buffer) -> bool:
    return buffer.spec.layout == "episodes"


def _range_of_returns(buffer: Buffer) -> str:
    if not _in_episodes(buffer):
        return "see `rlbuffers info` for the ranges of the columns"
    returns, lengths = buffer.arrays[EPISODE_RETURNS].all(), buffer.arrays[EPISODE_LENGTHS].all()
    ranges = [f"from {values.min():,.6g} to {values.max():,.6g}" for values in (returns, lengths)]
    return f"returns go {ranges[0]}, lengths {ranges[1]}"


def _with_top_returns(buffer: Buffer, kept: Flags, fraction: float) -> Flags:
    if not 0 < fraction <= 1:
        raise UsageError(f"top returns {fraction}: expected a fraction above 0 and at most 1")
    if _in_episodes(buffer):
        candidates = np.flatnonzero(kept & buffer.arrays[EPISODE_WHOLE].all())
        chosen = candidates[_best(buffer.arrays[EPISODE_RETURNS].all()[candidates], fraction)]
        return np.asarray(np.isin(np.arange(len(kept)), chosen))
    needed = (EPISODE_IDS, EPISODE_RETURNS_COLUMN)
    if not set(needed) <= set(buffer.spec.columns):
        raise UnsupportedError(f"{buffer.path}: independent transitions need {' and '.join(needed)} for top_returns")
    ids, returns = ids_of_episodes(buffer), buffer.arrays[EPISODE_RETURNS_COLUMN].all()
    distinct, first = np.unique(ids[kept], return_index=True)
    return np.asarray(np.isin(ids, distinct[_best(returns[kept][first], fraction)]))


def _best(returns: Array, fraction: float) -> Array:
    """Return the places of the highest returns, of equal ones the first."""
    ranked: Array = np.argsort(-returns.astype(np.float64), kind="stable")
    # Rounded first: 0.1 of 30 is 3.0000000000000004 episodes.
    return ranked[: max(math.floor(round(fraction * len(returns), 9)), 1)]


def known_names(buffer: Buffer) -> tuple[dict[str, Array], dict[str, Array] | None]:
    """Return the names that a condition may use, each with a value like those that it has.

    The first are those with one value an episode (or row), the second those with one a step; None where
    rows are independent.
    """
    spec = buffer.spec
    columns = {name: _zeros(spec.batch_column(name)) for name in spec.batch_names}
    if not _in_episodes(buffer):
        return {"row": np.zeros((), np.int64), **columns}, None
    per_episode = {name: np.zeros((), dtype) for name, (dtype, _) in _episode_values(buffer).items()}
    for name, column in spec.episode_columns.items():
        per_episode[f"{EPISODES_GROUP}/{name}"] = _zeros(column)
        if name not in columns:
            per_episode.setdefault(name, _zeros(column))
    return per_episode, {name: value for name, value in columns.items() if name not in per_episode}


def _zeros(column: ColumnSpec) -> Array:
    return np.zeros(column.shape, column.dtype)


def _episode_values(buffer: Buffer) -> dict[str, tuple[type[Any], Callable[[], Array]]]:
    """Return what is known of every episode: its dtype, and the function that reads it."""
    arrays = buffer.arrays

    def last(name: str) -> Callable[[], Array]:
        return lambda: arrays[name].take(arrays[EPISODE_STARTS].all() + arrays[EPISODE_LENGTHS].all() - 1)

    found: dict[str, tuple[type[Any], Callable[[], Array]]] = {
        "return": (np.float64, arrays[EPISODE_RETURNS].all),
        "length": (np.int64, arrays[EPISODE_LENGTHS].all),
        "episode": (np.int64, lambda: np.arange(buffer.num_episodes)),
        "whole": (np.bool_, arrays[EPISODE_WHOLE].all),
    }
    for name, column in (("terminal", TERMINALS), ("timeout", TIMEOUTS)):
        if column in buffer.spec.columns:
            found[name] = (np.bool_, last(column))
    return found


def matching(buffer: Buffer, where: str) -> Flags:
    """Return of which episodes, or rows, a condition is true.

    Raises
    ------
    UsageError
        If the condition cannot be understood.
    """
    per_unit, per_step = known_names(buffer)
    expression = Expression(where, per_unit, per_step)
    columns = [name for name in expression.names if name in buffer.spec.batch_names and name not in _own(buffer)]
    row_bytes = sum(math.prod(buffer.spec.batch_column(name).shape) * _WIDE_BYTES for name in columns)
    rows_at_once = max(_BLOCK_BYTES // max(row_bytes, 1), 1)
    if per_step is None:
        return _matching_rows(buffer, expression, columns, min(rows_at_once, len(buffer)))
    return _matching_episodes(buffer, expression, columns, rows_at_once)


def _own(buffer: Buffer) -> set[str]:
    return set(_episode_values(buffer)) if _in_episodes(buffer) else set()


def _matching_rows(buffer: Buffer, expression: Expression, columns: list[str], rows_at_once: int) -> Flags:
    flags = np.empty(len(buffer), np.bool_)
    for start in range(0, len(buffer), rows_at_once):
        stop = min(start + rows_at_once, len(buffer))
        values = {name: _steps(buffer, name, start, stop) for name in columns}
        flags[start:stop] = expression.evaluate(
            {**values, "row": np.arange(start, stop)}, np.ones(stop - start, np.int64)
        )
    return flags


def _matching_episodes(buffer: Buffer, expression: Expression, columns: list[str], rows_at_once: int) -> Flags:
    starts, lengths = buffer.arrays[EPISODE_STARTS].all(), buffer.arrays[EPISODE_LENGTHS].all()
    own = _episode_values(buffer)
    per_episode = {name: own[name][1]() for name in expression.names if name in own}
    for name in expression.names - set(own) - set(columns):
        per_episode[name] = buffer.arrays[f"{EPISODES_GROUP}/{name.removeprefix(f'{EPISODES_GROUP}/')}"].all()
    flags = np.empty(len(starts), np.bool_)
    stops = starts + lengths
    for first, last in episode_blocks(starts, stops, rows_at_once):
        values = {name: entries[first:last] for name, entries in per_episode.items()}
        for name in columns:
            values[name] = _steps(buffer, name, int(starts[first]), int(stops[last - 1]))
        flags[first:last] = expression.evaluate(values, lengths[first:last])
    return flags


def _steps(buffer: Buffer, name: str, start: int, stop: int) -> Array:
    if name in buffer.arrays:
        return buffer.arrays[name].slice(start, stop)
    return buffer.rows(np.arange(start, stop), [name])[name]
