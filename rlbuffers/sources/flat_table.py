"""A file of flat arrays as a table: which array is which column, and what its flags mean.

Containers (HDF5, NumPy's archives) say only how arrays are found and read; names and flags are told here, for
all of them alike. See `field_names` for names that are understood, and `flat_flags` for flags.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.errors import FormatError
from rlbuffers.kept_facts import KeptFacts
from rlbuffers.listing import listed
from rlbuffers.schema import (
    ACTIONS,
    NEXT_OBSERVATIONS,
    OBSERVATIONS,
    REWARDS,
    TERMINALS,
    TIMEOUTS,
    ColumnSpec,
    is_observation,
)
from rlbuffers.sources.base import blamed_on
from rlbuffers.sources.field_names import (
    DONES,
    EPISODE_STARTS,
    MAP_EXAMPLE,
    MASKS,
    NOT_DONES,
    candidates,
    chosen_names,
    heads_of,
    known_name,
    target_name,
)
from rlbuffers.sources.flat_columns import SizedArray, flat_column, is_storable, scalar_facts, sort_arrays
from rlbuffers.sources.flat_flags import Flags, flags_of

__all__ = ["FlatTable"]

Array = np.ndarray[Any, Any]
_COLUMNS = (OBSERVATIONS, NEXT_OBSERVATIONS, ACTIONS, REWARDS, TERMINALS, TIMEOUTS)
_OTHER_FLAGS = (DONES, NOT_DONES, MASKS, EPISODE_STARTS)
_ENDS = (TERMINALS, *_OTHER_FLAGS)
# Rows of two columns that are compared at a time.
_COMPARED_BYTES = 16 << 20


class FlatTable(ABC):
    """One file of flat arrays, under the D4RL names or others that are understood.

    Parameters
    ----------
    path : Path
        The file. It is not kept open.
    arrays : mapping of str to array
        What it holds; only dtypes and shapes are looked at.
    names : mapping of str to str, optional
        Array of the file, or the part of nested names before a ``/``, to its name in the buffer.
    pickled : sequence of str, optional
        Names of what is there and cannot be read.
    of_recordings : bool, default False
        Whether the file's terminals are known to be ends of recordings.
    needs_rewards : bool, default True
        Whether a file without rewards is refused; otherwise it gets zeros (float32).

    Attributes
    ----------
    num_rows : int
        Length of the columns.
    columns : dict of str to ColumnSpec
        What the rows that are read look like: flags are bool, rewards one number.
    extras : dict of str to ColumnSpec
        Arrays that belong to the file as a whole.
    flags : Flags
        Which rows end what.
    scalars : dict
        For the metadata, see `scalar_facts`.
    called : dict of str to str
        What a column, extra or scalar is called in the file.
    has_rewards : bool
        Whether the rewards are the file's.
    left_out : list of str
        What cannot be stored, a sentence each.
    kept : KeptFacts or None
        What our own export adds.
    warnings : list of str
        What the container shows of rows that are not data, a sentence each.

    Raises
    ------
    FormatError
        If it is not such a file; says what was expected.
    UsageError
        If there is no array of a name in `names`.
    """

    kept: KeptFacts | None = None
    _no_rewards_hint = ""

    def __init__(
        self,
        path: Path,
        arrays: Mapping[str, SizedArray],
        names: Mapping[str, str] | None = None,
        pickled: Sequence[str] = (),
        *,
        of_recordings: bool = False,
        needs_rewards: bool = True,
    ) -> None:
        self.path = path
        self.left_out: list[str] = []
        self.warnings: list[str] = []
        self._arrays = arrays
        said = chosen_names(heads_of(arrays), names or {}, str(path))
        found = candidates(
            [top for top in dict.fromkeys(name.partition("/")[0] for name in arrays) if top not in said],
            {role: name for name, role in said.items()},
        )
        self.called = self._called(said, found)
        self.num_rows = self._count()
        self.has_rewards = REWARDS in self.called
        roles = {role: [name for name, meant in said.items() if meant == role] for role in _OTHER_FLAGS}
        sources = {role: roles[role] or list(filter(self._is_flag, found.get(role, []))) for role in _OTHER_FLAGS}
        has_flags = TERMINALS in self.called or any(sources.values()) or TIMEOUTS in said.values()
        self._require_columns(pickled, has_flags=has_flags, needs_rewards=needs_rewards)
        self.flags = self._told(sources, of_recordings=of_recordings)
        self._forget(sources)
        kinds = sort_arrays({name: arrays[source] for name, source in self.called.items()}, self.called, str(path))
        self.left_out += kinds.left_out
        with blamed_on(path):
            self.columns = {name: self._column_spec(name) for name in kinds.columns}
            self.columns |= {name: ColumnSpec(name, np.dtype(np.bool_)) for name in self._flag_columns()}
            if not self.has_rewards:
                self.columns[REWARDS] = ColumnSpec(REWARDS, np.dtype(np.float32))
            self.extras = {name: self._array_spec(name) for name in kinds.extras}
        self.scalars, unsaid = scalar_facts({name: self._scalar(self.called[name]) for name in kinds.scalars})
        self.left_out += unsaid

    @abstractmethod
    def _read(self, name: str) -> Array:
        """Read a whole array by its name in the file, in native byte order."""

    @abstractmethod
    def _read_rows(self, spans: Iterable[tuple[int, int]], names: Sequence[str]) -> Iterator[dict[str, Array]]:
        """Yield rows of arrays by their names in the file, in native byte order; see `rows`."""

    def _scalar(self, name: str) -> Any:
        """Read a number or a text by its name in the file."""
        return self._read(name)

    def _called(self, said: Mapping[str, str], found: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """Return the file's name of everything by its name in the buffer; `found` are candidates by role."""
        guessed: dict[str, str] = {}
        same: dict[str, str] = {}
        for role in _COLUMNS:
            fitting = [name for name in found.get(role, []) if name == role or self._fits(role, name)]
            if fitting[:1] == [role]:  # beside the role's own name, what is built otherwise is something else
                fitting = [name for name in fitting if self._is_built_like(role, name)]
            if fitting:
                guessed[fitting[0]] = role
                same |= {name: fitting[0] for name in fitting[1:] if self._repeats(role, fitting[0], name)}
        self.left_out += [f"{name!r}, which is the same as {first!r}" for name, first in same.items()]
        called: dict[str, str] = {}
        for name in self._arrays:
            target = target_name(name, said, guessed)
            if name not in same and target in called:
                raise FormatError(
                    f"{self.path}: {called[target]!r} and {name!r} would both be {target!r}; name one of them "
                    f"otherwise with --map, such as --map {name}=infos/{name}"
                )
            if name not in same:
                called[target] = name
        return called

    def _fits(self, role: str, name: str) -> bool:
        """Whether what has a usual name of a column can be one: an array of numbers, or a group of them."""
        if name not in self._arrays:
            return role in (OBSERVATIONS, NEXT_OBSERVATIONS)
        array = self._arrays[name]
        is_single = role in (OBSERVATIONS, NEXT_OBSERVATIONS, ACTIONS) or array.shape[1:] in ((), (1,))
        rows = self._arrays.get(REWARDS, self._arrays.get(ACTIONS))
        of_length = role not in (TERMINALS, TIMEOUTS) or rows is None or array.shape[:1] == rows.shape[:1]
        return bool(array.shape) and is_storable(array.dtype) and is_single and of_length

    def _is_built_like(self, role: str, name: str) -> bool:
        """Whether an array looks like the one of a role's own name; groups, and rows of other shapes, do not."""
        own, other = self._arrays.get(role), self._arrays.get(name)
        if name == role or role in (REWARDS, TERMINALS, TIMEOUTS):
            return True
        return own is not None and other is not None and own.shape == other.shape

    def _repeats(self, role: str, first: str, other: str) -> bool:
        """Return True if two candidates for a column say the same.

        Raises
        ------
        FormatError
            If they do not.
        """
        if first in self._arrays and other in self._arrays and self._are_equal(role, first, other):
            return True
        raise FormatError(
            f"{self.path}: {first!r} and {other!r} may both be {role} and differ; say which one is with --map, such as "
            f"--map {first}={role}"
        )

    def _are_equal(self, role: str, first: str, other: str) -> bool:
        one, two = self._arrays[first], self._arrays[other]
        if role in (TERMINALS, TIMEOUTS):
            flags = [flat_column(role, self._read(name), str(self.path)) for name in (first, other)]
            return np.array_equal(flags[0], flags[1])
        if one.shape != two.shape:
            return False
        row_bytes = max(one.dtype.itemsize * math.prod(one.shape[1:]), 1)
        step = max(_COMPARED_BYTES // row_bytes, 1)
        spans = [(start, min(start + step, one.shape[0])) for start in range(0, one.shape[0], step)]
        is_float = "f" in (one.dtype.kind, two.dtype.kind)
        return all(
            np.array_equal(block[first], block[other], equal_nan=is_float)
            for block in self._read_rows(spans, [first, other])
        )

    def _count(self) -> int:
        source = self.called.get(REWARDS, self.called.get(ACTIONS))
        shape = self._arrays[source].shape if source is not None else ()
        return shape[0] if shape else 1

    def _is_flag(self, name: str) -> bool:
        """Whether what has a usual name of a flag is one: yes or no, once a row."""
        array = self._arrays.get(name)
        if array is None or not is_storable(array.dtype) or array.shape not in ((self.num_rows,), (self.num_rows, 1)):
            return False
        rows = self._read(name)
        return bool(np.isin(rows, (0, 1)).all())

    def _require_columns(self, pickled: Sequence[str], *, has_flags: bool, needs_rewards: bool) -> None:
        missing = [] if any(map(is_observation, self.called)) else [OBSERVATIONS]
        needed = (ACTIONS, REWARDS) if needs_rewards else (ACTIONS,)
        missing += [name for name in needed if name not in self.called]
        missing += [] if has_flags else [TERMINALS]
        unread = [name for name in pickled if known_name(name) in missing]
        if unread:
            raise FormatError(
                f"{self.path}: expected numbers in {listed(unread)}, found Python objects (a pickle), which are not "
                "read; save them as arrays of numbers"
            )
        unfit = [
            name for name in self._arrays if (role := known_name(name)) in missing or (role in _ENDS and not has_flags)
        ]
        texts = [name for name in unfit if self._arrays[name].dtype.kind in "SUO"]
        if texts:
            raise FormatError(
                f"{self.path}: expected numbers in {listed(texts)}, found text (such as the paths of pictures), which "
                "is not read"
            )
        if unfit:
            shapes = listed(f"{name!r} {self._arrays[name].shape}" for name in unfit)
            raise FormatError(
                f"{self.path}: expected {listed(missing)} with a row a step, one number in rewards, and 0 or "
                f"1 in flags; found {shapes}"
            )
        if missing:
            hint = self._no_rewards_hint if missing == [REWARDS] else ""
            raise FormatError(
                f"{self.path}: expected arrays {listed(missing)}; found {listed(sorted(self._arrays)) or 'none'}. "
                f"If they have other names, say so with {MAP_EXAMPLE}{hint}"
            )
        if self.num_rows == 0:
            raise FormatError(f"{self.path}: expected transitions, found none")

    def _told(self, sources: Mapping[str, Sequence[str]], *, of_recordings: bool) -> Flags:
        names = {name: self.called[name] for name in (TERMINALS, TIMEOUTS) if name in self.called}
        given = {name: self._flag(name, source) for name, source in names.items()}
        for role in _OTHER_FLAGS:
            meant = DONES if role == NOT_DONES else role
            for source in sources[role]:
                rows = self._flag(TERMINALS, source) ^ (role == NOT_DONES)
                if meant in given and not np.array_equal(rows, given[meant]):
                    raise FormatError(
                        f"{self.path}: {names[meant]!r} and {source!r} may both be {meant} and differ; say which "
                        f"one is with --map, such as --map {source}=infos/{source} for a column without this meaning"
                    )
                given[meant], names[meant] = rows, names.get(meant, source)
        return flags_of(given, names, str(self.path), of_recordings=of_recordings)

    def _flag(self, name: str, source: str) -> Array:
        """Read a flag; a needed one that is none is refused in words that name it."""
        array = self._arrays[source]
        if array.shape[:1] != (self.num_rows,):
            found = f"{array.shape[0]:,} rows" if array.shape else "a scalar"
            rows = self.called.get(REWARDS, self.called[ACTIONS])
            raise FormatError(
                f"{self.path}: expected {self.num_rows:,} rows in {source!r}, like {rows!r}; found {found}"
            )
        if not is_storable(array.dtype):
            raise FormatError(f"{self.path}: expected numbers of at most 8 bytes in {source!r}, found {array.dtype}")
        return flat_column(name, self._read(source), str(self.path))

    def _forget(self, sources: Mapping[str, Sequence[str]]) -> None:
        """Drop flags that say no more than terminals, timeouts and ends do."""
        used = {*self.flags.used, *((NOT_DONES,) if DONES in self.flags.used else ())}
        dropped = {source for role in used for source in sources.get(role, ())}
        self.called = {name: source for name, source in self.called.items() if source not in dropped}

    def _flag_columns(self) -> list[str]:
        return [TERMINALS, *([TIMEOUTS] if self.flags.timeouts is not None else [])]

    def _column_spec(self, name: str) -> ColumnSpec:
        array = self._arrays[self.called[name]]
        row = flat_column(name, np.zeros((1, *array.shape[1:]), array.dtype), str(self.path))
        return ColumnSpec(name, row.dtype, row.shape[1:])

    def _array_spec(self, name: str) -> ColumnSpec:
        array = self._arrays[self.called[name]]
        return ColumnSpec(name, array.dtype, array.shape[1:])

    @property
    def renamed(self) -> dict[str, str]:
        """What is called otherwise in the file, by its name in the buffer."""
        return {name: source for name, source in self.called.items() if name != source}

    def column(self, name: str) -> Array:
        """Read a whole column; of terminals and timeouts, what the flags tell."""
        made = self._made_rows(name)
        return flat_column(name, self._read(self.called[name]), str(self.path)) if made is None else made

    def _made_rows(self, name: str) -> Array | None:
        """Return a column that is not read as it stands in the file."""
        if name == REWARDS and not self.has_rewards:
            return np.zeros(self.num_rows, np.float32)
        return {TERMINALS: self.flags.terminals, TIMEOUTS: self.flags.timeouts}.get(name)

    def read_extras(self) -> dict[str, Array]:
        """Read all extras."""
        return {name: self._read(self.called[name]) for name in self.extras}

    def rows(self, spans: Iterable[tuple[int, int]], names: Sequence[str]) -> Iterator[dict[str, Array]]:
        """Yield rows `start` to `stop`, exclusive, of the named columns for each span.

        Parameters
        ----------
        spans : iterable of (start, stop)
            In ascending order; they may overlap.
        names : sequence of str
            Which columns.

        Raises
        ------
        CorruptDataError
            If the file is damaged.
        """
        spans = list(spans)
        made = {name: rows for name in names if (rows := self._made_rows(name)) is not None}
        stored = {name: self.called[name] for name in names if name not in made}
        blocks = self._read_rows(spans, list(stored.values()))
        for (start, stop), block in zip(spans, blocks, strict=True):
            yield {
                name: made[name][start:stop] if name in made else flat_column(name, block[stored[name]], str(self.path))
                for name in names
            }
