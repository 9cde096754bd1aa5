"""What a user states of actions whose space no file records: how many there are, or their bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlbuffers.errors import UsageError
from rlbuffers.schema import ColumnSpec
from rlbuffers.spaces import count_outside, described_space, restricts

__all__ = ["StatedActions", "is_numbered", "range_of", "refuse_outside"]

Array = np.ndarray[Any, Any]
_MOST_ACTIONS = 1_000_000  # each is counted in a buffer's metadata, and has outputs of a network
_LARGEST_FIRST = 2**31


def is_numbered(column: ColumnSpec) -> bool:
    """Whether an action can be one of several numbered choices: one whole number, of shape () or (1,)."""
    return column.dtype.kind in "biu" and column.shape in ((), (1,))


@dataclass(frozen=True)
class StatedActions:
    """The space of actions, as options state it. Nothing of it is ever taken from the actions that occur.

    Parameters
    ----------
    num_actions : int, optional
        Number of choices, for actions that are one whole number each.
    first_action : int, optional
        Number of the first choice, 0 by default; requires `num_actions`.
    action_low, action_high : tuple of float, optional
        Bounds of actions that are vectors: one number for all elements, or one for each. One requires the other.

    Raises
    ------
    UsageError
        If a number is out of range, or what is stated does not belong together.
    """

    num_actions: int | None = None
    first_action: int | None = None
    action_low: tuple[float, ...] | None = None
    action_high: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.num_actions is not None and not 1 <= self.num_actions <= _MOST_ACTIONS:
            raise UsageError(f"--num-actions: expected 1 to {_MOST_ACTIONS:,}, got {self.num_actions}")
        if self.first_action is not None and abs(self.first_action) > _LARGEST_FIRST:
            raise UsageError(f"--first-action: expected at most {_LARGEST_FIRST:,}, got {self.first_action}")
        if self.first_action is not None and self.num_actions is None:
            raise UsageError("--first-action requires --num-actions")
        if (self.action_low is None) != (self.action_high is None):
            raise UsageError("--action-low and --action-high require each other")
        if self.action_low is not None and self.num_actions is not None:
            raise UsageError(
                "--num-actions is for numbered actions, --action-low and --action-high are for vectors; give one kind"
            )
        if self.action_low is not None and self.action_high is not None:
            self._check_bounds(self.action_low, self.action_high)

    def _check_bounds(self, low: tuple[float, ...], high: tuple[float, ...]) -> None:
        try:
            pairs = list(zip(*np.broadcast_arrays(low, high), strict=True))
        except ValueError as error:
            raise UsageError(f"{self}: expected one number or as many of the one as of the other") from error
        if not pairs or not all(math.isfinite(end - start) and start < end for start, end in pairs):
            raise UsageError(f"{self}: expected finite bounds, each low below its high")

    def __bool__(self) -> bool:
        return self.num_actions is not None or self.action_low is not None

    def __str__(self) -> str:
        values = {
            "--num-actions": self.num_actions,
            "--first-action": self.first_action,
            "--action-low": _joined(self.action_low),
            "--action-high": _joined(self.action_high),
        }
        return " ".join(f"{option} {value}" for option, value in values.items() if value is not None)

    def space_for(self, column: ColumnSpec, where: object) -> dict[str, Any]:
        """Return the stated space of a column of actions, as `rlbuffers.spaces` describes it.

        Parameters
        ----------
        column : ColumnSpec
            What is known of the actions.
        where : object
            What holds them, for messages.

        Raises
        ------
        UsageError
            If nothing is stated, actions are of another kind, or another space is recorded.
        """
        told = f"{column.dtype.name} of shape {column.shape}"
        if self.num_actions is not None:
            if not is_numbered(column):
                raise UsageError(
                    f"{where}: {self} is for actions that are one whole number each; actions are {told} here"
                )
            space: dict[str, Any] = {"type": "discrete", "n": self.num_actions}
            if self.first_action:
                space["start"] = self.first_action
        elif self.action_low is not None and self.action_high is not None:
            space = self._box_for(column, f"{where}: {self}", told)
        else:
            raise UsageError(f"{where}: nothing is stated of the actions")
        recorded = column.space
        if recorded is not None and restricts(recorded, column.dtype) and not _allows(recorded, space, column.shape):
            raise UsageError(f"{where}: {self} contradicts the recorded space of actions ({described_space(recorded)})")
        return space

    def _box_for(self, column: ColumnSpec, blamed: str, told: str) -> dict[str, Any]:
        if column.dtype.kind != "f" or len(column.shape) != 1:
            raise UsageError(f"{blamed} is for actions that are vectors of float numbers; actions are {told} here")
        bounds: dict[str, Any] = {}
        for name, bound in (("low", self.action_low or ()), ("high", self.action_high or ())):
            if len(bound) not in (1, *column.shape):
                raise UsageError(f"{blamed}: actions have {column.shape[0]} elements, expected 1 bound or as many")
            bounds[name] = bound[0] if len(bound) == 1 else list(bound)
        return {"type": "box", **bounds}


def _joined(bound: tuple[float, ...] | None) -> str | None:
    return None if bound is None else ",".join(f"{value:g}" for value in bound)


def _allows(recorded: Mapping[str, Any], stated: Mapping[str, Any], shape: tuple[int, ...]) -> bool:
    """Whether a recorded space is the stated one, but for bounds that it does not have."""
    if recorded["type"] != stated["type"] or "minari" in recorded:
        return False
    if stated["type"] == "discrete":
        return (recorded["n"], recorded.get("start", 0)) == (stated["n"], stated.get("start", 0))
    for key in ("low", "high"):
        known = np.broadcast_to(np.array(recorded[key], np.float64), shape)  # None becomes NaN
        if not (np.isnan(known) | (known == np.array(stated[key]))).all():
            return False
    return True


def range_of(space: Mapping[str, Any]) -> str:
    """Word which values a checked space allows."""
    if space["type"] == "discrete":
        first = int(space.get("start", 0))
        return f"{first} to {first + int(space['n']) - 1}"
    return f"{space['low']} to {space['high']}"


def refuse_outside(actions: Array, space: Mapping[str, Any], where: object, by: object) -> None:
    """Refuse actions outside of a space.

    Parameters
    ----------
    actions : array, shape (N, ...)
        Of shape () or (D,) each. The smallest and the largest of each element will do.
    space : mapping
        Checked; see `rlbuffers.spaces`.
    where, by : object
        What holds the actions and what says the space, for the message.

    Raises
    ------
    UsageError
        If there is one; the message says from where to where actions reach.
    """
    if not len(actions) or not count_outside(actions, space):
        return
    lowest, highest = np.nanmin(actions), np.nanmax(actions)
    raise UsageError(
        f"{where}: actions reach from {lowest:.9g} to {highest:.9g}, but {by} allows {range_of(space)} only"
    )
