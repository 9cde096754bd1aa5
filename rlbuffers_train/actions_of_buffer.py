"""What can be done in the problem that a buffer's data are from: its own word, the user's, or that of a task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from rlbuffers.errors import MissingDependencyError, UsageError
from rlbuffers.reader import Buffer
from rlbuffers.schema import ACTIONS, ColumnSpec
from rlbuffers.spaces import count_outside, restricts
from rlbuffers.stated_actions import StatedActions, is_numbered, refuse_outside
from rlbuffers_train.playing.evaluation_task import actions_of_task
from rlbuffers_train.problem import BoxActions, DiscreteActions, actions_of_space, unlearnable_actions

__all__ = ["actions_of_buffer", "extreme_actions"]

Array = np.ndarray[Any, Any]
Actions = DiscreteActions | BoxActions
_ROWS_AT_ONCE = 1 << 20


def actions_of_buffer(
    buffer: Buffer,
    task: str | None = None,
    stated: StatedActions | None = None,
    on_note: Callable[[str], None] = lambda note: None,
) -> Actions:
    """Return the actions of a buffer. Their number and their bounds never come from the actions that occur.

    Parameters
    ----------
    buffer : Buffer
        The data.
    task : str, optional
        Environment that says what the buffer does not record; by default the one that the buffer names.
    stated : StatedActions, optional
        What the user says; the buffer must not say otherwise.
    on_note : callable
        Is told where actions come from if that is not the buffer.

    Raises
    ------
    UsageError
        If no algorithm learns such actions, nothing says how many there are or what their bounds are, or the data
        contradict it.
    """
    column, path = buffer.spec.columns[ACTIONS], buffer.path
    reason = unlearnable_actions(column)
    if reason is not None:
        raise UsageError(f"{path}: {reason}")
    if stated:
        column = replace(column, space=stated.space_for(column, path))
    space = column.space if column.space is not None and restricts(column.space, column.dtype) else {}
    actions = actions_of_space(space, column.shape)
    if actions is not None:
        if stated or (isinstance(actions, DiscreteActions) and not _all_counted(buffer)):
            refuse_outside(extreme_actions(buffer), space, path, stated or "the recorded space")
        if stated:
            on_note(f"actions: as {stated} states them")
        return actions
    recorded = (buffer.metadata.get("environment") or {}).get("id")
    if task is None and recorded is None:
        raise UsageError(f"{path} {_missing(column)}; {_remedies(column)}")
    named = str(task or recorded)
    try:
        found = actions_of_task(named)
    except (UsageError, MissingDependencyError) as error:
        if task is not None:
            raise
        reason = str(error).rstrip(".")
        raise UsageError(
            f"{path} {_missing(column)}, and its environment {named} cannot be asked ({reason}); {_remedies(column)}"
        ) from error
    return _of_task(buffer, named, found, on_note)


def _all_counted(buffer: Buffer) -> bool:
    """Whether the metadata count as many actions of the recorded space as there are rows."""
    return sum(buffer.metadata["statistics"].get("action_counts") or ()) == len(buffer)


def _of_task(buffer: Buffer, task: str, found: Actions, on_note: Callable[[str], None]) -> Actions:
    """Return the actions of a task after comparing them with those of the buffer."""
    column, path = buffer.spec.columns[ACTIONS], buffer.path
    if isinstance(found, BoxActions) == is_numbered(column) or (
        isinstance(found, BoxActions) and (found.size,) != column.shape
    ):
        here = "whole numbers" if is_numbered(column) else f"vectors of {column.shape[0]}"
        if isinstance(found, DiscreteActions) and column.shape == (1,):
            here += f" ({column.dtype.name}; numbered actions must be stored as whole numbers)"
        raise UsageError(f"{path} has {here} as actions, {task} has {found}; {_remedies(column)}")
    extremes = extreme_actions(buffer)
    if isinstance(found, DiscreteActions):
        space = {"type": "discrete", "n": found.num_actions, "start": found.start}
        try:
            refuse_outside(extremes, space, path, task)
        except UsageError as error:
            raise UsageError(f"{error}; {_remedies(column)}") from error
        on_note(f"actions: {found}, as {task} has them; the buffer does not say how many there are")
        return found
    on_note(f"bounds of actions are those of {task}; the buffer records none")
    if count_outside(extremes, {"type": "box", "low": list(found.low), "high": list(found.high)}):
        on_note(
            f"warning: actions in the data reach from {np.nanmin(extremes):.6g} to {np.nanmax(extremes):.6g}, beyond "
            f"the bounds of {task}; --action-low and --action-high state others"
        )
    return found


def _missing(column: ColumnSpec) -> str:
    return f"does not record {'how many actions there are' if is_numbered(column) else 'the bounds of actions'}"


def _remedies(column: ColumnSpec) -> str:
    stated = "--num-actions N" if is_numbered(column) else "--action-low and --action-high"
    return f"pass --task, the environment that the actions are for, or {stated}"


def extreme_actions(buffer: Buffer) -> Array:
    """Return the smallest and the largest value of each element of a buffer's actions, float64 (2, *row).

    The metadata know those of vectors, where they are NaN if no value is finite; others are read.
    """
    shape = buffer.spec.columns[ACTIONS].shape
    found = buffer.metadata["statistics"].get(ACTIONS)
    if found:
        return np.stack([np.broadcast_to(np.array(found.get(name), np.float64), shape) for name in ("min", "max")])
    low, high = np.full(shape, np.inf), np.full(shape, -np.inf)
    for rows in buffer.arrays[ACTIONS].blocks(_ROWS_AT_ONCE):
        low, high = np.minimum(low, rows.min(axis=0)), np.maximum(high, rows.max(axis=0))
    return np.stack([low, high])
