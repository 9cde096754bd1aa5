"""What a buffer holds: columns, layouts and names. The glossary as code.

Alignment, the same for every source, store, sampler and export::

    observations[t] --actions[t]--> rewards[t], terminals[t], timeouts[t], next_observations[t]

``terminals[t]`` says that the task ended with ``actions[t]``; ``timeouts[t]`` that a time limit or
the recording ended there. They are never merged: a value function bootstraps through a timeout.
Whether an episode was recorded to its end is said once an episode, in ``episodes/whole``.

Two layouts:

``episodes``
    Steps in the order in which they were played, with stored episode boundaries. T transitions of
    an episode have T + 1 observations; the last one is stored too. Where a source does not hold it,
    zeros stand in its place and ``episodes/final_known`` is False.
``transitions``
    Independent tuples, possibly shuffled. Rows are not neighbours in time, so every row carries
    its own next observation.

The arrays in which a buffer's columns are stored are derived by :func:`stored_arrays`; the bytes
on disk are specified in ``docs/format.md``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rlbuffers.errors import FormatError, SpecError
from rlbuffers.listing import listed, nearest, shortened
from rlbuffers.spaces import checked_space

__all__ = [
    "ACTIONS",
    "DISCOUNTS",
    "DTYPES",
    "EPISODES_GROUP",
    "EPISODE_IDS",
    "EXTRAS_GROUP",
    "FRAMES",
    "NEXT_OBSERVATIONS",
    "OBSERVATIONS",
    "REWARDS",
    "STACK_INDEX",
    "TERMINALS",
    "TIMEOUTS",
    "ArraySpec",
    "BufferSpec",
    "ColumnSpec",
    "Layout",
    "Order",
    "is_observation",
    "next_name",
    "stored_arrays",
]

OBSERVATIONS = "observations"
NEXT_OBSERVATIONS = "next_observations"
ACTIONS = "actions"
REWARDS = "rewards"
TERMINALS = "terminals"
TIMEOUTS = "timeouts"
DISCOUNTS = "discounts"
EPISODE_IDS = "episode_ids"

FRAMES = "frames"
STACK_INDEX = "stack_index"
OVERRIDE_ROWS = "next_overrides/rows"
OVERRIDE_OBSERVATIONS = "next_overrides/observations"

EPISODES_GROUP = "episodes"
EPISODE_STARTS = "episodes/starts"
EPISODE_LENGTHS = "episodes/lengths"
EPISODE_RETURNS = "episodes/returns"
EPISODE_WHOLE = "episodes/whole"
EPISODE_FINAL_KNOWN = "episodes/final_known"
FINAL_OBSERVATIONS = "episodes/final_observations"

EXTRAS_GROUP = "extras"

Layout = Literal["episodes", "transitions"]
Order = Literal["time", "shuffled"]
_ARRAY_KINDS = "biuf"  # bool, signed, unsigned, float: what every reader of HDF5 and Zarr knows
_MAX_ITEM_BYTES = 8
DTYPES = (
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    *(f"float{bits}" for bits in (16, 32, 64)),
)


def is_observation(name: str) -> bool:
    """Whether `name` is ``observations`` or one field of a dict observation."""
    return name == OBSERVATIONS or name.startswith(OBSERVATIONS + "/")


def next_name(observation: str) -> str:
    """Name of the next-observation column that belongs to an observation column."""
    return NEXT_OBSERVATIONS + observation.removeprefix(OBSERVATIONS)


def final_name(observation: str) -> str:
    """Name of the array with each episode's last observation."""
    return FINAL_OBSERVATIONS + observation.removeprefix(OBSERVATIONS)


@dataclass(frozen=True)
class ColumnSpec:
    """One column of the table of transitions.

    Parameters
    ----------
    name : str
        D4RL's name, such as ``observations`` or ``infos/qpos``; ``/`` nests.
    dtype : numpy.dtype
        Boolean, integer or float.
    shape : tuple of int
        Shape of one row: ``()`` for rewards, ``(4, 84, 84)`` for stacked frames.
    space : mapping, optional
        What values may occur: ``{"type": "discrete", "n": 4}`` or
        ``{"type": "box", "low": -1.0, "high": 1.0}``; see `rlbuffers.spaces`.

    Raises
    ------
    SpecError
        If the name is no path, or the dtype, the shape or the space cannot be stored.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()
    space: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", np.dtype(self.dtype).newbyteorder("="))
        object.__setattr__(self, "shape", tuple(int(size) for size in self.shape))
        parts = self.name.split("/")
        if not all(part and part.strip(".") and part.isprintable() for part in parts):
            raise SpecError(f"column name {self.name!r}: expected words separated by '/'")
        if self.dtype.kind not in _ARRAY_KINDS or self.dtype.itemsize > _MAX_ITEM_BYTES:
            raise SpecError(f"column {self.name!r}: dtype {self.dtype} cannot be stored; use bool, int or float")
        if any(size < 1 for size in self.shape):
            raise SpecError(f"column {self.name!r}: every size in its shape {self.shape} must be at least 1")
        if self.space is not None:
            object.__setattr__(self, "space", checked_space(self.space, self.dtype, self.shape))

    @property
    def row_bytes(self) -> int:
        """Size of one row in bytes."""
        return self.dtype.itemsize * math.prod(self.shape)

    def to_json(self) -> dict[str, Any]:
        """Return the description that is stored in a buffer's metadata."""
        described: dict[str, Any] = {"dtype": self.dtype.name, "shape": list(self.shape)}
        if self.space is not None:
            described["space"] = dict(self.space)
        return described


Columns = Mapping[str, ColumnSpec] | Iterable[ColumnSpec]


@dataclass(frozen=True, init=False)
class BufferSpec:
    """The columns of a buffer and how its rows hang together.

    Parameters
    ----------
    layout : {"episodes", "transitions"}
        See the module's docstring.
    columns : iterable of ColumnSpec, or mapping of name to ColumnSpec
        At least one observation column, ``actions`` and ``rewards``. In the ``episodes`` layout the
        next observations are derived and must not be listed; in the ``transitions`` layout they must.
    order : {"time", "shuffled"}, default "time"
        ``shuffled`` rows have no usable order: sequences and n-step returns are refused.
    stack : int, default 0
        Number of frames in a stacked image observation (oldest first), or 0 where observations are
        stored as they are. Stacked observations are uint8 of shape ``(stack, height, width)``.
    episode_columns : iterable of ColumnSpec, optional
        Facts that each episode has once, such as ``reset_seeds``.
    extras : iterable of ColumnSpec, optional
        Arrays that belong to the buffer as a whole, such as the weights of the behavior policy. The
        shape is that of one entry along axis 0; how many there are is the array's own matter.
    """

    layout: Layout
    columns: Mapping[str, ColumnSpec]
    order: Order
    stack: int
    episode_columns: Mapping[str, ColumnSpec]
    extras: Mapping[str, ColumnSpec]

    def __init__(
        self,
        layout: Layout,
        columns: Columns,
        order: Order = "time",
        stack: int = 0,
        episode_columns: Columns = (),
        extras: Columns = (),
    ) -> None:
        object.__setattr__(self, "layout", layout)
        object.__setattr__(self, "columns", _by_name(columns))
        object.__setattr__(self, "order", order)
        object.__setattr__(self, "stack", stack)
        object.__setattr__(self, "episode_columns", _by_name(episode_columns))
        object.__setattr__(self, "extras", _by_name(extras))
        if self.layout not in ("episodes", "transitions"):
            raise SpecError(f"layout {self.layout!r}: expected 'episodes' or 'transitions'")
        if self.order not in ("time", "shuffled"):
            raise SpecError(f"order {self.order!r}: expected 'time' or 'shuffled'")
        if self.layout == "episodes" and self.order == "shuffled":
            raise SpecError("the episodes layout keeps steps in time order; use layout='transitions'")
        for needed in (ACTIONS, REWARDS):
            if needed not in self.columns:
                raise SpecError(f"a buffer needs a column {needed!r}; got {listed(sorted(self.columns))}")
        if not self.observation_names:
            raise SpecError(f"a buffer needs a column 'observations'; got {listed(sorted(self.columns))}")
        if self.layout == "transitions" and self.episode_columns:
            raise SpecError("independent transitions have no episode columns; use layout='episodes'")
        self._check_numbers()
        self._check_next_observations()
        self._check_stack()
        self._check_places()

    def _check_numbers(self) -> None:
        if self.columns[REWARDS].shape:
            raise SpecError(f"column {REWARDS!r} must hold one number a row, not {self.columns[REWARDS].shape}")
        for name in (TERMINALS, TIMEOUTS):
            column = self.columns.get(name)
            if column is not None and (column.dtype != np.bool_ or column.shape):
                raise SpecError(f"column {name!r} must hold one bool a row, not {column.dtype} {column.shape}")

    def _check_next_observations(self) -> None:
        for name in self.observation_names:
            following = self.columns.get(next_name(name))
            if self.layout == "episodes" and following is not None:
                raise SpecError(f"the episodes layout derives {following.name!r}; do not list it")
            if self.layout == "transitions":
                column = self.columns[name]
                if following is None or (following.dtype, following.shape) != (column.dtype, column.shape):
                    raise SpecError(
                        f"the transitions layout needs {next_name(name)!r} with dtype {column.dtype} "
                        f"and shape {column.shape}, like {name!r}"
                    )

    def _check_stack(self) -> None:
        if self.stack == 0:
            return
        column = self.columns.get(OBSERVATIONS)
        fits = column is not None and len(column.shape) == 3 and column.shape[0] == self.stack
        if column is None or not fits or column.dtype != np.uint8:
            raise SpecError(f"stack={self.stack} needs uint8 'observations' of shape ({self.stack}, height, width)")

    def _check_places(self) -> None:
        """Refuse columns that would stand at the same place in a file, or one inside another."""
        derived = set(self.batch_names) - set(self.columns)
        stacked = {OBSERVATIONS, NEXT_OBSERVATIONS} - derived if self.stack else set()
        names = [*(array.name for array in _list_arrays(self)), *derived, *stacked]
        for name, count in Counter(names).items():
            if count > 1:
                raise SpecError(f"the format has an array {name!r} already; give the column another name")
            outer = next((folder for folder in names if name.startswith(f"{folder}/")), None)
            if outer is not None:
                raise SpecError(f"{name!r} cannot stand inside the column {outer!r}; give one of them another name")

    @property
    def observation_names(self) -> list[str]:
        """Names of the observation columns, sorted."""
        return sorted(name for name in self.columns if is_observation(name))

    @property
    def batch_names(self) -> list[str]:
        """Names of all columns of a batch, derived ones included, sorted."""
        derived = [next_name(name) for name in self.observation_names]
        return sorted({*self.columns, *derived})

    def batch_column(self, name: str) -> ColumnSpec:
        """Return the spec of a column of a batch; derived next observations are described too."""
        if name in self.columns:
            return self.columns[name]
        for observation in self.observation_names:
            if next_name(observation) == name:
                column = self.columns[observation]
                return ColumnSpec(name, column.dtype, column.shape, column.space)
        hint = nearest(name, self.batch_names)
        raise SpecError(f"there is no column {name!r}; the buffer has {listed(self.batch_names)}{hint}")

    def to_json(self) -> dict[str, Any]:
        """Return the description that is stored in a buffer's metadata."""
        return {
            "layout": self.layout,
            "order": self.order,
            "stack": self.stack,
            "columns": {name: column.to_json() for name, column in self.columns.items()},
            "episode_columns": {name: column.to_json() for name, column in self.episode_columns.items()},
            "extras": {name: column.to_json() for name, column in self.extras.items()},
        }

    @classmethod
    def from_json(cls, described: Mapping[str, Any]) -> BufferSpec:
        """Build a spec from :meth:`to_json`'s result.

        Raises
        ------
        FormatError
            If the description lacks a key or contradicts itself.
        """
        try:
            return cls(
                layout=described["layout"],
                order=described["order"],
                stack=int(described["stack"]),
                columns=_columns_from_json(described["columns"]),
                episode_columns=_columns_from_json(described["episode_columns"]),
                extras=_columns_from_json(described["extras"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise FormatError(f"the spec in the metadata cannot be understood: {shortened(repr(error))}") from error


def _by_name(columns: Columns) -> dict[str, ColumnSpec]:
    listed = list(columns.values()) if isinstance(columns, Mapping) else list(columns)
    named = {column.name: column for column in listed}
    if len(named) != len(listed):
        raise SpecError(f"a column name occurs twice in {[column.name for column in listed]}")
    return dict(sorted(named.items()))


def _columns_from_json(described: Mapping[str, Any]) -> list[ColumnSpec]:
    return [
        ColumnSpec(name, np.dtype(column["dtype"]), tuple(column["shape"]), column.get("space"))
        for name, column in described.items()
    ]


@dataclass(frozen=True)
class ArraySpec:
    """One stored array: its name, the dtype and shape of a row, and what a row is."""

    name: str
    dtype: np.dtype[Any]
    row_shape: tuple[int, ...]
    rows: Literal["transitions", "episodes", "frames", "overrides", "own"]

    @property
    def row_bytes(self) -> int:
        """Size of one row in bytes."""
        return self.dtype.itemsize * math.prod(self.row_shape)


def stored_arrays(spec: BufferSpec) -> dict[str, ArraySpec]:
    """List the arrays in which a buffer of this spec is stored.

    Stacked observations become ``frames`` and ``stack_index``; derivable next observations become
    one final observation an episode; every other column is an array of the same name.
    """
    return {array.name: array for array in sorted(_list_arrays(spec), key=lambda array: array.name)}


def _list_arrays(spec: BufferSpec) -> list[ArraySpec]:
    arrays: list[ArraySpec] = []
    int64 = np.dtype(np.int64)
    for column in spec.columns.values():
        if not (spec.stack and column.name in (OBSERVATIONS, NEXT_OBSERVATIONS)):
            arrays.append(ArraySpec(column.name, column.dtype, column.shape, "transitions"))
    if spec.stack:
        column = spec.columns[OBSERVATIONS]
        arrays.append(ArraySpec(FRAMES, column.dtype, column.shape[1:], "frames"))
        arrays.append(ArraySpec(STACK_INDEX, int64, (spec.stack + 1,), "transitions"))
        if spec.layout == "transitions":
            arrays.append(ArraySpec(OVERRIDE_ROWS, int64, (), "overrides"))
            arrays.append(ArraySpec(OVERRIDE_OBSERVATIONS, column.dtype, column.shape, "overrides"))
    if spec.layout == "episodes":
        arrays.append(ArraySpec(EPISODE_STARTS, int64, (), "episodes"))
        arrays.append(ArraySpec(EPISODE_LENGTHS, int64, (), "episodes"))
        arrays.append(ArraySpec(EPISODE_RETURNS, np.dtype(np.float64), (), "episodes"))
        arrays.append(ArraySpec(EPISODE_WHOLE, np.dtype(np.bool_), (), "episodes"))
        arrays.append(ArraySpec(EPISODE_FINAL_KNOWN, np.dtype(np.bool_), (), "episodes"))
        for column in spec.episode_columns.values():
            arrays.append(ArraySpec(f"{EPISODES_GROUP}/{column.name}", column.dtype, column.shape, "episodes"))
        if not spec.stack:
            for name in spec.observation_names:
                column = spec.columns[name]
                arrays.append(ArraySpec(final_name(name), column.dtype, column.shape, "episodes"))
    for column in spec.extras.values():
        arrays.append(ArraySpec(f"{EXTRAS_GROUP}/{column.name}", column.dtype, column.shape, "own"))
    return arrays
