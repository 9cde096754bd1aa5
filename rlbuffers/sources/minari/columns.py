"""Which arrays of a Minari dataset become columns of a buffer, and how an episode's arrays become rows.

Every episode is looked at before the first is read: arrays of one name may be integers in one episode
and floats in another (h5py chose the dtype of each from a list of Python numbers), and infos
may be there in some episodes only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rlbuffers.decoding.images import decode_images
from rlbuffers.episode import Episode
from rlbuffers.errors import FormatError, SpecError, UnsupportedError
from rlbuffers.listing import listed
from rlbuffers.schema import OBSERVATIONS, REWARDS, TERMINALS, TIMEOUTS, ColumnSpec, is_observation
from rlbuffers.sources.flat_columns import flat_column
from rlbuffers.sources.minari.spaces import Leaf
from rlbuffers.sources.minari.stored import NEEDED, Rows, Stored

__all__ = ["RESET_INFOS", "ColumnSurvey", "Columns"]

Array = np.ndarray[Any, Any]
RESET_INFOS = "reset_infos"
_FLAGS = {"terminations": TERMINALS, "truncations": TIMEOUTS}
_MAX_IMAGE_BYTES = 1 << 28


@dataclass
class _Seen:
    """What the arrays of one name have in common."""

    kinds: set[str] = field(default_factory=set)
    dtypes: set[np.dtype[Any]] = field(default_factory=set)
    row_shapes: set[tuple[int, ...]] = field(default_factory=set)
    surplus: set[int] = field(default_factory=set)  # rows beyond the number of steps
    episodes: int = 0

    def add(self, stored: Stored, steps: int) -> None:
        self.kinds.add(stored.kind)
        self.row_shapes.add(stored.shape[1:])
        self.surplus.add((stored.shape[0] if stored.shape else 0) - steps)
        self.episodes += 1
        if stored.dtype is not None:
            self.dtypes.add(stored.dtype)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that holds the numbers of every episode."""
        return np.dtype(np.uint8) if self.kinds == {"files"} else np.result_type(*self.dtypes)


@dataclass(frozen=True)
class Columns:
    """The columns of a dataset.

    Parameters
    ----------
    dtypes : mapping of name to dtype
        The arrays that are kept, under Minari's names.
    shapes : mapping of name to shape
        Of one row of each.
    leaves : mapping of name to Leaf
        What the spaces say of observations and actions.
    with_reset : sequence of str
        The infos whose first entry is that of the reset.
    files : sequence of str
        The observations that are image files.
    left_out, notes, warnings : list of str
        For the metadata.
    """

    dtypes: Mapping[str, np.dtype[Any]]
    shapes: Mapping[str, tuple[int, ...]]
    leaves: Mapping[str, Leaf]
    with_reset: frozenset[str]
    files: frozenset[str]
    left_out: list[str]
    notes: list[str]
    warnings: list[str]

    def specs(self) -> list[ColumnSpec]:
        """Describe the columns of the buffer.

        Raises
        ------
        SpecError
            If one of them cannot be stored.
        """
        return [self._spec(name) for name in self.dtypes]

    def _spec(self, name: str) -> ColumnSpec:
        dtype = np.dtype(np.bool_) if name in _FLAGS else self.dtypes[name]
        shape = () if name in (REWARDS, *_FLAGS) else self.shapes[name]
        leaf = self.leaves.get(name)
        if leaf is not None and leaf.space is not None:
            try:
                return ColumnSpec(name, dtype, shape, leaf.space)
            except SpecError as error:
                self.warnings.append(
                    f"The space of {name!r} does not fit its rows ({dtype} {shape}); left out: {error}."
                )
        return ColumnSpec(_FLAGS.get(name, name), dtype, shape)

    def fact_specs(self) -> list[ColumnSpec]:
        """Describe what each episode has once: the infos of its reset."""
        return [ColumnSpec(_reset_name(name), self.dtypes[name], self.shapes[name]) for name in sorted(self.with_reset)]

    def episode(self, arrays: Mapping[str, Rows], facts: Mapping[str, Any], where: str) -> Episode:
        """Make an episode of what was read of it.

        Parameters
        ----------
        arrays : mapping of name to rows
            All that are kept.
        facts : mapping
            What the episode has once beyond the infos of its reset.
        where : str
            Names the episode, for messages.
        """
        columns: dict[str, Array] = {}
        observations: dict[str, Array] = {}
        once = dict(facts)
        for name, values in arrays.items():
            rows = self._rows(name, values, where)
            if is_observation(name):
                observations[name] = rows
            elif name in self.with_reset:
                columns[name] = rows[1:]
                once[_reset_name(name)] = rows[0]
            else:
                target = _FLAGS.get(name, name)
                columns[target] = flat_column(target, rows, where)
        whole = bool(columns[TERMINALS][-1] or columns[TIMEOUTS][-1])
        return Episode(columns, observations, once, whole)

    def _rows(self, name: str, values: Rows, where: str) -> Array:
        if not isinstance(values, np.ndarray):
            return decode_images(values, self.shapes[name], f"{where}: {name!r}", extra="minari")
        return values.astype(self.dtypes[name], copy=False)


class ColumnSurvey:
    """Collects what the episodes hold.

    Parameters
    ----------
    leaves : mapping of name to Leaf
        What the spaces say of observations and actions.
    where : str
        Names the dataset, for messages.
    """

    def __init__(self, leaves: Mapping[str, Leaf], where: str) -> None:
        self._leaves = leaves
        self._where = where
        self._seen: dict[str, _Seen] = {}
        self._num_episodes = 0

    def look(self, arrays: Mapping[str, Stored], where: str) -> int:
        """Add an episode and return its number of steps.

        Raises
        ------
        FormatError
            If it lacks something, has no step, or its arrays differ in length.
        UnsupportedError
            If the actions or all observations are texts.
        """
        missing = [name for name in NEEDED if name not in arrays]
        observed = [name for name in arrays if is_observation(name)]
        if not missing and not observed:
            missing = [OBSERVATIONS]
        if missing:
            raise FormatError(f"{where}: expected {listed(missing)}; found {listed(arrays) or 'nothing'}")
        usable = [name for name in observed if arrays[name].kind != "other"]
        bad = next((name for name in NEEDED if arrays[name].kind != "numbers"), "" if usable else OBSERVATIONS)
        if bad:
            raise UnsupportedError(f"{where}: expected numbers in {bad!r}; a buffer holds neither texts nor objects")
        steps = arrays[REWARDS].shape[0]
        if steps < 1:
            raise FormatError(f"{where}: expected steps, found none")
        for name in NEEDED:
            _require_rows(name, arrays[name], (steps,), where)
        final = arrays[usable[0]].shape[0] - steps
        for name in usable:
            _require_rows(name, arrays[name], (steps + 1,) if final == 1 else (steps, steps + 1), where)
            if arrays[name].shape[0] - steps != final:
                raise FormatError(f"{where}: {name!r} and {usable[0]!r} differ in length")
        for name, stored in arrays.items():
            self._seen.setdefault(name, _Seen()).add(stored, steps)
        self._num_episodes += 1
        return steps

    def columns(self) -> Columns:
        """Return what becomes a column.

        Raises
        ------
        FormatError
            If an array that a buffer needs differs between the episodes in more than its dtype.
        """
        left_out, notes, kept = [], [], {}
        for name, seen in self._seen.items():
            needed = name in NEEDED or is_observation(name)
            reason = self._reason_against(name, seen)
            if not reason:
                kept[name] = seen
            elif needed and seen.kinds != {"other"}:
                raise FormatError(f"{self._where}: {name!r} cannot be a column: {reason}")
            else:
                left_out.append(f"{name!r}: {reason}")
        for name, seen in kept.items():
            if len(seen.dtypes) > 1 and name not in _FLAGS:
                dtypes = ", ".join(sorted(dtype.name for dtype in seen.dtypes))
                notes.append(f"{name!r} has other dtypes in other episodes ({dtypes}); all are {seen.dtype.name} here.")
        files = frozenset(name for name, seen in kept.items() if seen.kinds == {"files"})
        return Columns(
            {name: seen.dtype for name, seen in kept.items()},
            {
                name: self._leaves[name].shape if name in files else next(iter(seen.row_shapes))
                for name, seen in kept.items()
            },
            self._leaves,
            frozenset(name for name, seen in kept.items() if _is_info(name) and seen.surplus == {1}),
            files,
            left_out,
            notes,
            [],
        )

    def _reason_against(self, name: str, seen: _Seen) -> str:
        """Say why arrays of one name cannot be a column, or nothing."""
        leaf = self._leaves.get(name)
        if not (name in NEEDED or is_observation(name) or _is_info(name)):
            return "the format does not describe it"
        if "other" in seen.kinds:
            return "it holds texts or objects, or single values"
        if seen.episodes != self._num_episodes:
            return f"only {seen.episodes:,} of {self._num_episodes:,} episodes have it"
        if len(seen.kinds) > 1 or len(seen.row_shapes) > 1:
            return "its rows differ in shape between episodes"
        if seen.kinds == {"files"} and leaf is None:
            return "it holds image files, of which no space states the shape"
        if seen.kinds == {"files"} and leaf is not None and math.prod(leaf.shape) > _MAX_IMAGE_BYTES:
            return f"its images of shape {leaf.shape} are too large"
        if _is_info(name) and seen.surplus not in ({0}, {1}):
            return "it has neither one entry a step nor one more"
        return self._unstorable(name, seen)

    def _unstorable(self, name: str, seen: _Seen) -> str:
        if seen.kinds == {"files"}:
            return ""
        try:
            ColumnSpec(name, seen.dtype, next(iter(seen.row_shapes)))
        except (SpecError, TypeError) as error:
            return str(error)
        return ""


def _is_info(name: str) -> bool:
    return name == "infos" or name.startswith("infos/")


def _reset_name(info: str) -> str:
    return RESET_INFOS + info.removeprefix("infos")


def _require_rows(name: str, stored: Stored, expected: tuple[int, ...], where: str) -> None:
    if not stored.shape or stored.shape[0] not in expected:
        rows = " or ".join(f"{count:,}" for count in expected)
        raise FormatError(f"{where}: expected {rows} rows in {name!r}; found shape {stored.shape}")
