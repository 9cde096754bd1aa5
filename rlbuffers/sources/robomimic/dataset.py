"""robomimic HDF5 files: demonstrations of robots, one group each, and their kin from MimicGen and Isaac Lab.

Format: ``docs/datasets/overview.md`` and ``robomimic/scripts/dataset_states_to_obs.py`` of
ARISE-Initiative/robomimic; ``mimicgen/utils/file_utils.py`` of NVlabs/mimicgen;
``isaaclab/utils/datasets/hdf5_dataset_file_handler.py`` of isaac-sim/IsaacLab. ``data/demo_N`` holds T rows of
``actions``, ``obs/KEY``, and mostly ``next_obs/KEY``, ``rewards``, ``dones`` and ``states``;
``mask/NAME`` lists the demos of a split.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rlbuffers.episode import Episode
from rlbuffers.errors import FormatError, UsageError
from rlbuffers.kept_facts import NAME, KeptFacts
from rlbuffers.listing import listed, nearest
from rlbuffers.schema import ACTIONS, REWARDS, TERMINALS, TIMEOUTS, BufferSpec, ColumnSpec
from rlbuffers.sources.base import FileSource, blamed_on
from rlbuffers.sources.files import file_facts, finite_object, natural_key
from rlbuffers.sources.flat_columns import flat_column, scalar_facts
from rlbuffers.sources.flat_ends import ENDS_LOOKED_AT
from rlbuffers.sources.hdf5_files import check_size, opened_hdf5
from rlbuffers.sources.hdf5_rows import rows_of
from rlbuffers.sources.robomimic.ends import DemoEnds
from rlbuffers.sources.robomimic.survey import (
    DEMO_NUMBERS,
    FINAL_KNOWN,
    NUM_SAMPLES,
    DemoSurvey,
    column_name,
    is_observed,
    next_obs_name,
)
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["DATA", "DONES", "ENV_ARGS", "MASK", "MASKS", "TOTAL", "RobomimicSource"]

Array = np.ndarray[Any, Any]
DATA = "data"
MASK = "mask"
MASKS = "masks"
ENV_ARGS = "env_args"
TOTAL = "total"
DONES = "dones"
SUCCESS = "success"
_NUMBERED = re.compile(r"demo_(\d+)")
_MAX_NUMBER = np.iinfo(np.int64).max


class RobomimicSource(FileSource[Episode]):
    """The demos of one file, in the order of their numbers.

    Memory is bounded by the longest demo.

    Parameters
    ----------
    path : str or Path
        The file.
    split : str, optional
        Name of a mask: only its demos are read.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or it is not such a file; says what was expected.
    UsageError
        If there is no such split; lists those that there are.
    """

    def __init__(self, path: str | Path, split: str | None = None) -> None:
        super().__init__(path)
        self._split = split
        self._ends = DemoEnds()
        self._transitions = 0
        self._reward_sum = 0.0
        self._successes = 0
        self._done_rows = 0
        self._unlike_next = 0
        self._warnings: list[str] = []
        self._left_out: list[str] = []
        with opened_hdf5(self.path) as file:
            if not isinstance(file.get(DATA), h5py.Group):
                raise FormatError(
                    f"{path}: expected a group 'data' of demonstrations; found {listed(sorted(file)) or 'nothing'}"
                )
            self.kept = KeptFacts.of_attribute(file, str(self.path))
            self._attributes = {name: value for name, value in file.attrs.items() if name != NAME}
            self._attributes |= dict(file[DATA].attrs)
            names = self._demos_in(file[DATA])
            self._masks = self._read_masks(file, names)
            self._demos = self._chosen(names)
            self._survey(file[DATA])
        self._spec = self.with_kept(self._make_spec())

    def _demos_in(self, data: h5py.Group) -> list[str]:
        """Return the names of the groups that hold demos, in the order of their numbers."""
        groups = [name for name in data if isinstance(data.get(name), h5py.Group)]
        others = sorted(set(data) - set(groups))
        if others:
            self._left_out.append(f"in 'data', what is not a group: {listed(others)}")
        if not groups:
            raise FormatError(f"{self.path}: expected demonstrations such as 'data/demo_0', found none")
        return sorted(groups, key=natural_key)

    def _read_masks(self, file: h5py.File, names: list[str]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        group = file.get(MASK)
        if not isinstance(group, h5py.Group):
            return found
        for name, array in group.items():
            if isinstance(array, h5py.Dataset) and array.dtype.kind in "SO" and array.shape is not None:
                check_size(array, self.path)
                found[name] = [_text(item) for item in np.ravel(array[()])]
            else:
                self._left_out.append(f"'mask/{name}', which is no list of names")
        absent = {name: len(set(listed) - set(names)) for name, listed in found.items()}
        short = {name: count for name, count in absent.items() if count}
        if short:
            listed = len(set().union(*(found[name] for name in short)) - set(names))
            self._warnings.append(
                f"Masks that name demos which are not in the file: {len(short):,} of {len(found):,}, such as "
                f"mask/{next(iter(short))} (demos missing: {listed:,})."
            )
        return found

    def _chosen(self, names: list[str]) -> list[str]:
        if self._split is None:
            return names
        if self._split not in self._masks:
            raise UsageError(
                f"{self.path}: has no split {self._split!r}; its masks are "
                f"{listed(self._masks) or 'none'}{nearest(self._split, self._masks)}"
            )
        chosen = [name for name in names if name in set(self._masks[self._split])]
        if not chosen:
            raise FormatError(f"{self.path}: the file has none of the demos of mask/{self._split}")
        return chosen

    def _survey(self, data: h5py.Group) -> None:
        survey = DemoSurvey(self.path)
        self._steps: dict[str, int] = {}
        empty, misstated = [], []
        for name in self._demos:
            demo = data[name]
            steps = self._num_steps(demo)
            if not steps:
                empty.append(name)
                continue
            self._steps[name] = steps
            survey.look(demo, steps)
            self._ends.look(self._read_optional(demo, REWARDS), self._read_optional(demo, DONES))
            stated = demo.attrs.get(NUM_SAMPLES, steps)
            if str(stated) != str(steps):
                misstated.append(f"{name}: {stated} instead of {steps}")
        self._demos = list(self._steps)
        if not self._demos:
            raise FormatError(f"{self.path}: expected transitions, found none")
        if empty:
            self._left_out.append(f"demos without a step: {listed(empty)}")
        if misstated:
            self._warnings.append(
                f"Demos state another number of rows than they have ({listed(misstated)}). All rows are here; "
                "robomimic reads as many as are stated."
            )
        self._found = survey.found()
        self._final_is_repeated = self._found.knows_next and self._repeats_last(data)

    def _num_steps(self, demo: h5py.Group) -> int:
        if ACTIONS not in demo:
            raise FormatError(f"{self.path}: {demo.name}: expected 'actions'; found {listed(demo) or 'nothing'}")
        actions = demo[ACTIONS]
        if not isinstance(actions, h5py.Dataset):
            parts = listed(f"{ACTIONS}/{name}" for name in actions)
            raise FormatError(f"{self.path}: {demo.name}: expected one array 'actions', found several ({parts})")
        check_size(actions, self.path)
        return int(actions.shape[0]) if actions.shape else 0

    def _read_optional(self, demo: h5py.Group, name: str) -> Array | None:
        """Read numbers, one a row; None if the demo has none such."""
        array = demo.get(name)
        if not isinstance(array, h5py.Dataset) or array.dtype.kind not in "biuf" or array.shape is None:
            return None
        check_size(array, self.path)
        rows = rows_of(array).reshape(-1)
        return rows if len(rows) == self._num_steps(demo) else None

    def _repeats_last(self, data: h5py.Group) -> bool:
        """Whether the last next observation is only the last observation again, as in converted D4RL files."""
        moved = stood = False
        for demo_name in self._demos[:ENDS_LOOKED_AT]:
            demo, steps = data[demo_name], self._steps[demo_name]
            for name in filter(is_observed, self._found.columns):
                last = _row(demo[name], steps - 1)
                if not _same(last, self._final_row(demo, name)):
                    return False
                if steps > 1:
                    still = _same(_row(demo[name], steps - 2), last)
                    moved, stood = moved or not still, stood or still
        return moved or not stood

    @staticmethod
    def _final_row(demo: h5py.Group, name: str) -> Array:
        array = demo[next_obs_name(name) if next_obs_name(name) in demo else name]
        return _row(array, len(array) - 1)

    @property
    def _has_flags(self) -> bool:
        """Whether the file has terminals of its own, as those that rlbuffers writes."""
        return TERMINALS in self._found.columns

    def _make_spec(self) -> BufferSpec:
        found = self._found
        columns = {spec.name: spec for spec in found.columns.values()}
        columns.setdefault(REWARDS, ColumnSpec(REWARDS, np.dtype(np.float32)))
        if not self._has_flags:
            columns[TERMINALS] = ColumnSpec(TERMINALS, np.dtype(np.bool_))
            columns.setdefault(TIMEOUTS, ColumnSpec(TIMEOUTS, np.dtype(np.bool_)))
        facts = [*found.facts.values(), *found.attributes.values()]
        self._numbers = {name: number for name in self._demos if (number := _number(name)) is not None}
        self._mask_numbers = self._numbered_masks() if len(self._numbers) == len(self._demos) else {}
        if len(self._numbers) == len(self._demos):
            facts.append(ColumnSpec(DEMO_NUMBERS, np.dtype(np.int64)))
        elif self._masks:
            self._left_out.append("mask: the demos have names other than demo_N")
        with blamed_on(self.path):
            extras = [ColumnSpec(name, np.dtype(np.int64)) for name in self._mask_numbers]
            return BufferSpec("episodes", columns, episode_columns=facts, extras=extras)

    def _numbered_masks(self) -> dict[str, Array]:
        found: dict[str, Array] = {}
        for name, demos in self._masks.items():
            numbers = [_number(demo) for demo in demos]
            if numbers and None not in numbers:
                found[f"{MASKS}/{name}"] = np.array(numbers, np.int64)
            else:
                self._left_out.append(f"'mask/{name}', which is empty or names something other than demo_N")
        return found

    @property
    def spec(self) -> BufferSpec:
        """Episodes, with every column that all demos have."""
        return self._spec

    def pieces(self) -> Iterator[Episode]:
        """Yield the demos in order."""
        with opened_hdf5(self.path) as file:
            for name in self._demos:
                yield self._episode(file[DATA][name], name)

    def _episode(self, demo: h5py.Group, name: str) -> Episode:
        steps = self._steps[name]
        columns: dict[str, Array] = {}
        observations: dict[str, Array] = {}
        unlike_next = np.zeros(steps - 1, bool)
        for stored, spec in self._found.columns.items():
            rows = rows_of(demo[stored])
            if is_observed(stored):
                unlike_next |= self._unlike_next_rows(demo, stored, rows[:steps])
                final = [self._final_row(demo, stored)[None]] if self._knows_final(demo) else []
                rows = np.concatenate([rows[:steps], *final]) if final else rows[:steps]
                observations[spec.name] = rows.astype(spec.dtype, copy=False)
            else:
                rows = flat_column(spec.name, rows, f"{self.path}: {demo.name}")
                columns[spec.name] = rows.astype(spec.dtype, copy=False)
        rewards, dones = columns.get(REWARDS), self._read_optional(demo, DONES)
        self._count(steps, rewards, dones, unlike_next)
        columns.setdefault(REWARDS, np.zeros(steps, np.float32))
        if not self._has_flags:
            columns = self._flags(demo, rewards, dones, steps) | columns
        whole = any(bool(columns[flag][-1]) for flag in (TERMINALS, TIMEOUTS) if flag in columns)
        return Episode(columns, observations, self._facts(demo, name), whole)

    def _knows_final(self, demo: h5py.Group) -> bool:
        return self._knows_finals and bool(demo.attrs.get(FINAL_KNOWN, True))

    @property
    def _knows_finals(self) -> bool:
        return self._found.knows_next and not self._final_is_repeated

    def _unlike_next_rows(self, demo: h5py.Group, name: str, rows: Array) -> Array:
        """Tell which next observations, but for the last one, are not the following row's observation."""
        if not self._found.knows_next or next_obs_name(name) not in demo:
            return np.zeros(len(rows) - 1, bool)
        following, here = rows_of(demo[next_obs_name(name)])[:-1], rows[1:]
        different = (following != here) & ~((following != following) & (here != here))
        unlike: Array = different.any(axis=tuple(range(1, different.ndim)))
        return unlike

    def _count(self, steps: int, rewards: Array | None, dones: Array | None, unlike_next: Array) -> None:
        self._done += 1
        self._transitions += steps
        self._reward_sum += total_reward(rewards) if rewards is not None else 0.0
        self._done_rows += int((dones != 0).sum()) if dones is not None else 0
        self._unlike_next += int(unlike_next.sum())

    def _flags(self, demo: h5py.Group, rewards: Array | None, dones: Array | None, steps: int) -> dict[str, Array]:
        is_stated = SUCCESS in self._found.attributes and not self._found.attributes[SUCCESS].shape
        success = self._ends.is_success(rewards, dones, bool(demo.attrs[SUCCESS]) if is_stated else None)
        self._successes += success
        last = np.arange(steps) == steps - 1
        return {TERMINALS: last & success, TIMEOUTS: last & (not success)}

    def _facts(self, demo: h5py.Group, name: str) -> dict[str, Any]:
        found = self._found
        facts = {spec.name: rows_of(demo[stored]) for stored, spec in found.facts.items()}
        facts |= {spec.name: demo.attrs[stored] for stored, spec in found.attributes.items()}
        return facts | ({DEMO_NUMBERS: self._numbers[name]} if DEMO_NUMBERS in self._spec.episode_columns else {})

    def extras(self) -> Mapping[str, Array]:
        """Return the masks, as numbers of demos."""
        return self._mask_numbers

    def tally(self) -> Tally:
        """Count what was read."""
        return Tally(self._done, self._transitions, self._reward_sum)

    def metadata(self) -> dict[str, Any]:
        """Describe the file."""
        env_args = self._env_args()
        scalars, unsaid = scalar_facts(
            {name: value for name, value in self._attributes.items() if name not in (ENV_ARGS, TOTAL)}
        )
        return self.with_kept_facts(
            {
                "environment": {
                    **({"id": env_args["env_name"]} if env_args.get("env_name") else {}),
                    **({ENV_ARGS: env_args} if env_args else {}),
                },
                "behavior_policy": {},
                "source": {
                    "format": "robomimic",
                    "files": [file_facts(self.path)],
                    **({"split": self._split} if self._split is not None else {}),
                },
                "measurements": {
                    **({} if self._has_flags else {"demos_ended_by_success": self._successes}),
                    **({"rows_done": self._done_rows} if column_name(DONES) in self._spec.columns else {}),
                },
                "warnings": [*self._warnings, *self._found.warnings, *self._told_of_rows()],
                "left_out": [*self._left_out, *self._found.left_out, *unsaid],
                "scalars": scalars | self._found.scalars,
                "license": "",
                "citation": "",
                "notes": [*self._found.notes, *self._notes()],
            }
        )

    def _env_args(self) -> dict[str, Any]:
        text = self._attributes.get(ENV_ARGS)
        try:
            found = json.loads(text) if isinstance(text, str | bytes) else None
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            return finite_object(found)
        if text is not None and len(text):
            self._left_out.append(f"{ENV_ARGS!r}, which is no JSON object")
        return {}

    def _told_of_rows(self) -> Iterator[str]:
        if REWARDS not in self._found.columns:
            yield "The file has no rewards; all rewards are 0."
        if self._final_is_repeated:
            yield (
                "The last 'next_obs' of each demo is its last 'obs' again: what followed the last action is not known."
            )
        if self._unlike_next:
            yield (
                f"Rows whose 'next_obs' is not the next row's 'obs', within demos: {self._unlike_next:,}. The buffer's "
                "next observation is the next row's 'obs'."
            )
        stated = self._attributes.get(TOTAL)
        if self._split is None and stated is not None and str(stated) != str(self._transitions):
            yield f"The file states {stated} rows in all, it has {self._transitions:,}."
        yield from self._ends.warnings(self._done)

    def _notes(self) -> Iterator[str]:
        if column_name(DONES) in self._spec.columns and not self._has_flags:
            yield (
                "infos/dones has robomimic's flags as they are stored: they mark success, or the last row, or both; "
                "its algorithms do not bootstrap from any such row. terminals mark the last row of demos that ended by "
                "success, timeouts the last row of all others."
            )
        if not self._knows_finals:
            yield "What was observed after the last action of a demo is not in the file."

    @property
    def total(self) -> int:
        """Number of demos."""
        return len(self._demos)


def _number(name: str) -> int | None:
    """Return the N of ``demo_N``."""
    match = _NUMBERED.fullmatch(name)
    number = int(match[1]) if match else -1
    return number if 0 <= number <= _MAX_NUMBER else None


def _row(array: h5py.Dataset, number: int) -> Array:
    row: Array = rows_of(array, number, number + 1)[0]
    return row


def _same(first: Array, other: Array) -> bool:
    return np.array_equal(first, other, equal_nan=first.dtype.kind == "f" and other.dtype.kind == "f")


def _text(item: Any) -> str:
    return item.decode(errors="replace") if isinstance(item, bytes) else str(item)
