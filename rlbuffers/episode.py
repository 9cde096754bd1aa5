"""What sources hand to the writer: whole episodes, or batches of independent transitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rlbuffers.errors import SpecError
from rlbuffers.listing import unlike
from rlbuffers.schema import (
    EPISODE_FINAL_KNOWN,
    EPISODES_GROUP,
    FRAMES,
    NEXT_OBSERVATIONS,
    OBSERVATIONS,
    REWARDS,
    BufferSpec,
    ColumnSpec,
    final_name,
)

__all__ = ["EncodedRows", "Episode", "Transitions", "check_rows"]

Array = np.ndarray[Any, Any]


def check_rows(name: str, rows: Array, dtype: np.dtype[Any], row_shape: tuple[int, ...]) -> Array:
    """Return `rows` as an array after checking that nothing would have to be cast.

    Raises
    ------
    SpecError
        If the dtype or the shape of a row differs from what was declared.
    """
    array = np.asarray(rows)
    if array.dtype != dtype or array.ndim == 0 or array.shape[1:] != row_shape:
        got = f"{array.dtype} and {array.shape[1:]}" if array.ndim else f"one {array.dtype}"
        raise SpecError(f"column {name!r}: expected rows of dtype {dtype} and shape {row_shape}, got {got}")
    return array


@dataclass(frozen=True)
class Episode:
    """T transitions in the order in which they were played.

    Parameters
    ----------
    columns : mapping of name to array of T rows
        Every column of the spec but the observations: actions, rewards, terminals, timeouts, ...
    observations : mapping of name to array of T + 1 rows
        Observation columns, the one after the last action included. With ``spec.stack`` = k it is
        ``{"frames": (T + k, height, width)}``: single frames, the k - 1 frames that pad the first
        stack in front, so that the stack of step t is ``frames[t : t + k]``. A source that does not
        hold the observation after the last action gives one row less.
    facts : mapping of name to value
        One value for each of the spec's episode columns.
    whole : bool, default True
        False if the recording stopped before the episode's end; its return is then no full return.
    """

    columns: Mapping[str, Array]
    observations: Mapping[str, Array]
    facts: Mapping[str, Any] = field(default_factory=dict)
    whole: bool = True

    def __len__(self) -> int:
        return len(self.columns[REWARDS])

    def rows_of(self, spec: BufferSpec) -> dict[str, Array]:
        """Check the episode against `spec` and return its rows by stored array name.

        Raises
        ------
        SpecError
            If a column is missing, unknown, of another dtype or shape, or of another length.
        """
        observed = {FRAMES} if spec.stack else set(spec.observation_names)
        expected = set(spec.columns) - set(spec.observation_names)
        for what, got, wanted in (
            ("columns", set(self.columns), expected),
            ("observations", set(self.observations), observed),
            ("facts", set(self.facts), set(spec.episode_columns)),
        ):
            if got != wanted:
                raise SpecError(f"an episode has {what} {unlike(got, wanted)}")
        rows = _checked_columns(self.columns, spec)
        num_steps = len(rows[REWARDS])
        if num_steps == 0:
            raise SpecError("an episode has no steps")
        rows.update(self._observation_rows(spec, num_steps))
        rows[EPISODE_FINAL_KNOWN] = np.array([self._final_known(spec, num_steps)])
        for name, value in self.facts.items():
            rows[f"{EPISODES_GROUP}/{name}"] = _fact_row(spec.episode_columns[name], value)
        return rows

    def _final_known(self, spec: BufferSpec, num_steps: int) -> bool:
        return len(next(iter(self.observations.values()))) == num_steps + (spec.stack or 1)

    def _observation_rows(self, spec: BufferSpec, num_steps: int) -> dict[str, Array]:
        rows: dict[str, Array] = {}
        extra = spec.stack or 1
        known = self._final_known(spec, num_steps)
        for name, values in self.observations.items():
            column = spec.columns[OBSERVATIONS if spec.stack else name]
            row_shape = column.shape[1:] if spec.stack else column.shape
            array = check_rows(name, values, column.dtype, row_shape)
            if len(array) != num_steps + extra - (not known):
                raise SpecError(
                    f"{name!r}: expected {num_steps + extra} rows for {num_steps} steps (the observation after the "
                    f"last one too, or without it in every observation column), got {len(array)}"
                )
            if not known:
                array = np.concatenate([array, np.zeros((1, *row_shape), array.dtype)])
            if spec.stack:
                rows[FRAMES] = array
            else:
                rows[name] = array[:-1]
                rows[final_name(name)] = array[-1:]
        return rows


@dataclass(frozen=True)
class EncodedRows:
    """Rows of one array that were encoded elsewhere, typically in another process.

    Parameters
    ----------
    chunks : sequence of bytes
        Encoded chunks in row order; the last one may be padded.
    digests : sequence of bytes
        Block digests of the same rows, see `rlbuffers.fingerprint`.
    num_rows : int
        Number of rows without padding.
    """

    chunks: Sequence[bytes]
    digests: Sequence[bytes]
    num_rows: int


@dataclass(frozen=True)
class Transitions:
    """B independent transitions.

    Parameters
    ----------
    columns : mapping of name to array of B rows
        Every column of the spec, next observations included. With ``spec.stack`` = k the two
        stacked columns are given by the following three instead.
    windows : uint8, shape (B, k + 1, height, width), or EncodedRows of B * (k + 1) frames, optional
        The frames of a transition, oldest first: the observation is the first k of them and the
        next observation the last k.
    override_rows : int64, shape (X,), optional
        Rows of this batch, ascending, whose next observation is not the last k frames.
    override_observations : uint8, shape (X, k, height, width), optional
        The next observations of those rows.
    counters : mapping of str to int or object, optional
        What the decoder counted or measured, for the source's measurements; not stored.
    """

    columns: Mapping[str, Array]
    windows: Array | EncodedRows | None = None
    override_rows: Array | None = None
    override_observations: Array | None = None
    counters: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.columns[REWARDS])

    @classmethod
    def from_columns(cls, columns: Mapping[str, Array], spec: BufferSpec) -> Transitions:
        """Build from every column of the spec; stacked observations are split into frames.

        Raises
        ------
        SpecError
            If a column is missing, unknown, of another dtype or shape, or of another length.
        """
        if set(columns) != set(spec.columns):
            raise SpecError(f"transitions have columns {unlike(columns, spec.columns)}")
        rows = _checked_columns(columns, spec)
        if not spec.stack:
            return cls(rows)
        stacks = rows.pop(OBSERVATIONS), rows.pop(NEXT_OBSERVATIONS)
        return cls.from_stacks(rows, *stacks)

    @classmethod
    def from_stacks(cls, columns: Mapping[str, Array], observations: Array, next_observations: Array) -> Transitions:
        """Find the frames that observation and next observation, both (B, k, height, width), share."""
        depth = observations.shape[1]
        shifted = (next_observations[:, : depth - 1] == observations[:, 1:]).all(axis=(1, 2, 3))
        rows = np.flatnonzero(~shifted)
        windows = np.concatenate([observations, next_observations[:, -1:]], axis=1)
        return cls(columns, windows, rows, next_observations[rows])

    def check(self, spec: BufferSpec) -> None:
        """Compare with `spec`.

        Raises
        ------
        SpecError
            If a column is missing, unknown, of another dtype or shape, or of another length.
        """
        expected = set(spec.columns) - ({OBSERVATIONS, NEXT_OBSERVATIONS} if spec.stack else set())
        if set(self.columns) != expected:
            raise SpecError(f"transitions have columns {unlike(self.columns, expected)}")
        _checked_columns(self.columns, spec)
        if spec.stack:
            self._check_windows(spec)
            self._check_overrides(spec)

    def _check_windows(self, spec: BufferSpec) -> None:
        frames = self.windows.num_rows if isinstance(self.windows, EncodedRows) else len(self) * (spec.stack + 1)
        if isinstance(self.windows, np.ndarray):
            row_shape = (spec.stack + 1, *spec.columns[OBSERVATIONS].shape[1:])
            frames = len(check_rows("windows", self.windows, np.dtype(np.uint8), row_shape)) * (spec.stack + 1)
        if self.windows is None or frames != len(self) * (spec.stack + 1):
            raise SpecError(f"windows: expected {spec.stack + 1} frames for each of {len(self)} transitions")

    def _check_overrides(self, spec: BufferSpec) -> None:
        if self.override_rows is None and self.override_observations is None:
            return
        if self.override_rows is None or self.override_observations is None:
            raise SpecError("override_rows and override_observations must be given together")
        rows = check_rows("override_rows", self.override_rows, np.dtype(np.int64), ())
        column = spec.columns[NEXT_OBSERVATIONS]
        stacks = check_rows("override_observations", self.override_observations, column.dtype, column.shape)
        if len(rows) != len(stacks):
            raise SpecError(f"override_observations: expected {len(rows)} rows like 'override_rows', got {len(stacks)}")
        if len(rows) and (rows[0] < 0 or rows[-1] >= len(self) or (np.diff(rows) < 1).any()):
            raise SpecError(f"override_rows must be ascending rows of the {len(self)} transitions, got {rows.tolist()}")


def _checked_columns(columns: Mapping[str, Array], spec: BufferSpec) -> dict[str, Array]:
    """Return columns as arrays after checking that they have the declared rows, and all as many."""
    rows = {
        name: check_rows(name, values, spec.columns[name].dtype, spec.columns[name].shape)
        for name, values in columns.items()
    }
    for name, values in rows.items():
        if len(values) != len(rows[REWARDS]):
            raise SpecError(f"column {name!r}: expected {len(rows[REWARDS])} rows like 'rewards', got {len(values)}")
    return rows


def _fact_row(column: ColumnSpec, value: Any) -> Array:
    """Return a fact as a row of its column; a Python number is converted if that loses nothing."""
    given = np.asarray(value)
    try:
        row: Array = given.astype(column.dtype).reshape(1, *column.shape)
        same = np.array_equal(row.ravel(), given.ravel(), equal_nan=column.dtype.kind == "f")
    except (TypeError, ValueError, OverflowError):
        same = False
    if not same:
        raise SpecError(f"fact {column.name!r}: {value!r} is no {column.dtype} of shape {column.shape}")
    return row
