"""Which arrays and attributes of the demos become columns, and which what each episode has once.

Every demo is looked at before the first is read: an array may be there in some demos only, or have
another dtype in some.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rlbuffers.errors import FormatError, SpecError
from rlbuffers.listing import listed
from rlbuffers.schema import (
    ACTIONS,
    EPISODE_FINAL_KNOWN,
    EPISODE_LENGTHS,
    EPISODE_RETURNS,
    EPISODE_STARTS,
    EPISODE_WHOLE,
    EPISODES_GROUP,
    FINAL_OBSERVATIONS,
    OBSERVATIONS,
    REWARDS,
    TERMINALS,
    TIMEOUTS,
    ColumnSpec,
)
from rlbuffers.sources.flat_columns import scalar_facts
from rlbuffers.sources.hdf5_files import WrittenChunks, check_size, datasets_of

__all__ = [
    "DEMO_NUMBERS",
    "DERIVED",
    "FINAL_KNOWN",
    "INITIAL_STATE",
    "NUM_SAMPLES",
    "DemoSurvey",
    "Found",
    "column_name",
    "is_observed",
    "next_obs_name",
]

NUM_SAMPLES = "num_samples"
DEMO_NUMBERS = "demo_numbers"
_OBS = "obs"
_NEXT_OBS = "next_obs"
_FLAGS = (TERMINALS, TIMEOUTS)
_STORABLE = "biuf"
_MAX_ITEM_BYTES = 8
# Attribute of an array that rlbuffers made of another one, so that it says nothing new.
DERIVED = "derived"
# Attribute of a demo that rlbuffers wrote, where the last row of its next observations is made up.
FINAL_KNOWN = "final_known"
# The state before the first step, which Isaac Lab stores once a demo.
INITIAL_STATE = "initial_state"
_TAKEN = {
    EPISODE_STARTS,
    EPISODE_LENGTHS,
    EPISODE_RETURNS,
    EPISODE_WHOLE,
    EPISODE_FINAL_KNOWN,
    FINAL_OBSERVATIONS,
    f"{EPISODES_GROUP}/{DEMO_NUMBERS}",
}
# Longer texts, such as a whole MuJoCo model, would drown the metadata.
_MAX_TEXT = 4096


def is_observed(name: str) -> bool:
    """Whether an array of a demo is an observation."""
    return name == _OBS or name.startswith(f"{_OBS}/")


def next_obs_name(name: str) -> str:
    """Return the name of the next observations that belong to an observation of a demo."""
    return _NEXT_OBS + name.removeprefix(_OBS)


def column_name(name: str) -> str:
    """Return a buffer's name for an array of a demo."""
    if is_observed(name):
        return OBSERVATIONS + name.removeprefix(_OBS)
    return name if name in (ACTIONS, REWARDS, *_FLAGS) else f"infos/{name}"


@dataclass
class _Seen:
    """What the arrays of one name have in common."""

    dtypes: set[np.dtype[Any]] = field(default_factory=set)
    shapes: set[tuple[int, ...]] = field(default_factory=set)
    surplus: set[int] = field(default_factory=set)  # rows beyond the number of steps
    demos: int = 0

    def add(self, dtype: np.dtype[Any], shape: tuple[int, ...], steps: int) -> None:
        self.dtypes.add(dtype.newbyteorder("="))
        self.shapes.add(shape)
        self.surplus.add(shape[0] - steps if shape else -steps)
        self.demos += 1

    @property
    def row_shapes(self) -> set[tuple[int, ...]]:
        return {shape[1:] for shape in self.shapes}

    @property
    def is_storable(self) -> bool:
        return all(dtype.kind in _STORABLE and dtype.itemsize <= _MAX_ITEM_BYTES for dtype in self.dtypes)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that holds the numbers of every demo."""
        return np.result_type(*self.dtypes)


@dataclass(frozen=True)
class Found:
    """What becomes of the arrays and attributes.

    Parameters
    ----------
    columns : mapping of str to ColumnSpec
        By the names of the arrays in a demo.
    facts, attributes : mapping of str to ColumnSpec
        Arrays and attributes that each demo has once.
    scalars : dict
        Texts that are the same in all demos, see `scalar_facts`.
    knows_next : bool
        Whether every observation comes with next observations, or with one row more than there are steps.
    left_out, notes, warnings : list of str
        For the metadata.
    """

    columns: Mapping[str, ColumnSpec]
    facts: Mapping[str, ColumnSpec]
    attributes: Mapping[str, ColumnSpec]
    scalars: dict[str, Any]
    knows_next: bool
    left_out: list[str]
    notes: list[str]
    warnings: list[str]


class DemoSurvey:
    """Collects what the demos hold.

    Parameters
    ----------
    path : Path
        The file, for messages.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._arrays: dict[str, _Seen] = {}
        self._numbers: dict[str, _Seen] = {}
        self._texts: dict[str, set[str]] = {}
        self._left_out: set[str] = set()
        self._num_demos = 0
        self._written = WrittenChunks(path)

    def look(self, demo: h5py.Group, steps: int) -> None:
        """Add a demo of so many steps.

        Raises
        ------
        FormatError
            If it has no observations, or actions, rewards or observations of another length.
        CorruptDataError
            If the file is damaged.
        """
        self._num_demos += 1
        arrays, unread = datasets_of(demo)
        self._left_out.update(unread)
        if not any(is_observed(name) for name in arrays):
            raise FormatError(
                f"{self._path}: {demo.name}: expected observations in 'obs'; found {listed(sorted(arrays))}. A file "
                "of states and actions gets observations from robomimic's dataset_states_to_obs.py"
            )
        for name, array in arrays.items():
            if DERIVED in array.attrs:
                continue
            check_size(array, self._path)
            self._written.look(array, name, is_needed=is_observed(name) or name in (ACTIONS, REWARDS, *_FLAGS))
            rows = array.shape[0] if array.shape else 0
            longest = steps + 1 if is_observed(name) else steps
            if (is_observed(name) or name in (REWARDS, *_FLAGS)) and not steps <= rows <= longest:
                raise FormatError(
                    f"{self._path}: {array.name}: expected {steps:,} rows, like 'actions'; found {rows:,}"
                )
            self._arrays.setdefault(name, _Seen()).add(array.dtype, array.shape, steps)
        for name, value in demo.attrs.items():
            if name not in (NUM_SAMPLES, FINAL_KNOWN):
                self._look_at_attribute(str(name), value)

    def _look_at_attribute(self, name: str, value: Any) -> None:
        given = np.asarray(value)
        if given.dtype.kind in _STORABLE:
            self._numbers.setdefault(name, _Seen()).add(given.dtype, given.shape, 0)
        elif isinstance(value, str) and len(value) <= _MAX_TEXT:
            self._texts.setdefault(name, set()).add(value)
        else:
            self._left_out.add(f"the demos' attribute {name!r}, a long text or an object")

    def found(self) -> Found:
        """Return what becomes of the arrays and attributes.

        Raises
        ------
        FormatError
            If an array that a buffer needs cannot be a column, or the demos disagree about one.
        CorruptDataError
            If most of such an array was never written.
        """
        self._written.require()
        columns: dict[str, ColumnSpec] = {}
        facts: dict[str, ColumnSpec] = {}
        notes: list[str] = []
        left_out = set(self._left_out)
        for name, seen in self._arrays.items():
            if name.split("/")[0] == _NEXT_OBS:
                continue
            reason = self._reason_against(name, seen)
            if reason and (name in (ACTIONS, REWARDS) or (is_observed(name) and seen.is_storable)):
                raise FormatError(f"{self._path}: {name!r} cannot be a column: {reason}")
            spec = None if reason else self._spec(name, seen)
            if spec is None:
                left_out.add(f"{name!r}: {reason or 'its shape cannot be stored'}")
                continue
            (facts if _is_once(name, seen) else columns)[name] = spec
            if len(seen.dtypes) > 1 and name not in _FLAGS:
                dtypes = ", ".join(sorted(dtype.name for dtype in seen.dtypes))
                notes.append(f"{name!r} has other dtypes in other demos ({dtypes}); all are {seen.dtype.name} here.")
        if not any(is_observed(name) for name in columns):
            raise FormatError(f"{self._path}: expected numbers in 'obs', found none")
        attributes = self._attributes(facts, left_out)
        scalars, unsaid = scalar_facts({name: texts.pop() for name, texts in self._texts.items() if len(texts) == 1})
        left_out.update(unsaid)
        left_out.update(
            f"the demos' attribute {name!r}, other texts in other demos" for name, texts in self._texts.items() if texts
        )
        knows_next = self._knows_next(columns, left_out)
        return Found(columns, facts, attributes, scalars, knows_next, sorted(left_out), notes, self._written.warnings)

    def _reason_against(self, name: str, seen: _Seen) -> str:
        """Say why the arrays of one name cannot be kept, or nothing."""
        if not seen.is_storable:
            return "it holds texts or objects"
        if seen.demos != self._num_demos:
            return f"only {seen.demos:,} of {self._num_demos:,} demos have it"
        if _is_once(name, seen):
            return "" if len(seen.shapes) == 1 else "it has neither one row a step nor the same shape in all demos"
        if len(seen.row_shapes) > 1:
            return "its rows differ in shape between demos"
        if is_observed(name) and len(seen.surplus) > 1:
            return "it has one row more than the actions in some demos only"
        return ""

    def _spec(self, name: str, seen: _Seen) -> ColumnSpec | None:
        if _is_once(name, seen):
            return _once_spec(name, seen)
        (shape,) = seen.row_shapes
        if name == REWARDS or name in _FLAGS:
            if shape not in ((), (1,)):
                raise FormatError(f"{self._path}: expected one number a row in {name!r}, found rows of shape {shape}")
            shape = ()
        try:
            return ColumnSpec(column_name(name), np.dtype(np.bool_) if name in _FLAGS else seen.dtype, shape)
        except (SpecError, TypeError) as error:
            if name == ACTIONS:
                raise FormatError(f"{self._path}: {error}") from error
            return None

    def _attributes(self, facts: Mapping[str, ColumnSpec], left_out: set[str]) -> dict[str, ColumnSpec]:
        found = {}
        for name, seen in self._numbers.items():
            alike = seen.demos == self._num_demos and len(seen.shapes) == 1 and name not in facts
            spec = _once_spec(name, seen) if alike and seen.is_storable else None
            if spec is None:
                left_out.add(f"the demos' attribute {name!r}, which not all of them have alike")
            else:
                found[name] = spec
        return found

    def _knows_next(self, columns: Mapping[str, ColumnSpec], left_out: set[str]) -> bool:
        observed = [name for name in columns if is_observed(name)]
        if all(self._arrays[name].surplus == {1} for name in observed):
            return True
        following = {name for name in self._arrays if name.split("/")[0] == _NEXT_OBS}
        expected = {next_obs_name(name) for name in observed}
        usable = all(
            name in self._arrays
            and self._arrays[name].surplus == {0}
            and self._arrays[name].row_shapes == self._arrays[_OBS + name.removeprefix(_NEXT_OBS)].row_shapes
            for name in expected
        )
        alone = following - expected if usable else following
        left_out.update(f"{name!r}: not every observation of every demo has one" for name in alone)
        return usable


def _once_spec(name: str, seen: _Seen) -> ColumnSpec | None:
    """Describe what every demo has once, unless it cannot be stored or a buffer has something else of this name."""
    if f"{EPISODES_GROUP}/{name.split('/')[0]}" in _TAKEN:
        return None
    try:
        return ColumnSpec(name, seen.dtype, next(iter(seen.shapes)))
    except (SpecError, TypeError):
        return None


def _is_once(name: str, seen: _Seen) -> bool:
    """Whether an array does not go along with the steps."""
    return name.startswith(f"{INITIAL_STATE}/") or (not is_observed(name) and seen.surplus != {0})
