"""Which columns RLlib's batches have in common, under the names of the schema, and what is told of all their rows.

``obs`` becomes ``observations``, ``new_obs`` ``next_observations``, ``terminateds`` ``terminals``, ``truncateds``
``timeouts``. Recordings from before RLlib had the last two have only ``dones``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rlbuffers.errors import FormatError, SpecError
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
    next_name,
)
from rlbuffers.sources.flat_columns import flat_column
from rlbuffers.sources.flat_ends import ENDS_LOOKED_AT, next_rows_follow
from rlbuffers.sources.rllib.batches import Batch
from rlbuffers.sources.rllib.runs import KEYS, STEP, RunFinder, key_changes
from rlbuffers.stats import total_reward

__all__ = ["DONES", "Survey", "ends_of"]

Array = np.ndarray[Any, Any]
DONES = "dones"
_NAMES = {
    "obs": OBSERVATIONS,
    "new_obs": NEXT_OBSERVATIONS,
    "next_obs": NEXT_OBSERVATIONS,
    "terminateds": TERMINALS,
    "truncateds": TIMEOUTS,
}
_FLAGS = (TERMINALS, TIMEOUTS, DONES)
_MAX_ITEM_BYTES = 8


def _schema_name(name: str) -> str:
    first, slash, rest = name.partition("/")
    if first in _NAMES:
        return f"{_NAMES[first]}{slash}{rest}"
    # What would stand where the schema has something else.
    is_taken = first in {*_NAMES.values(), "episodes", "extras", "frames", "stack_index", "final_observations"}
    return f"infos/{name}" if is_taken else name


def _is_needed(name: str) -> bool:
    first = name.partition("/")[0]
    return first in (OBSERVATIONS, NEXT_OBSERVATIONS, ACTIONS, REWARDS, *_FLAGS)


class Survey:
    """What the first reading of all batches tells.

    Parameters
    ----------
    batches : iterable of Batch
        All of them.
    where : str
        What is read, for messages.

    Attributes
    ----------
    columns : dict
        Specs of what is stored for each step and each batch has, and of next observations and ``dones``.
    episode_columns : dict
        Specs of what names an episode, where it is a number.
    left_out : list of str
        Sentences about the rest.
    rows : int
    reward_sum : float
    first_step : int or None
        The lowest number of a step.
    has_shifted : bool
        Whether next observations were only the observations moved by a row, and are not among the columns.
    last_batches : list of int
        For each run of `RunFinder`, the number of the batch that has its last row.

    Raises
    ------
    FormatError
        If there are no steps, or a column that is needed is missing or differs.
    """

    def __init__(self, batches: Iterable[Batch], where: str) -> None:
        self._where = where
        self._found: dict[str, ColumnSpec] = {}
        self._reasons: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._num_batches = 0
        self.rows = 0
        self.reward_sum = 0.0
        self.first_step: int | None = None
        self.last_batches: list[int] = []
        self._ends_looked_at = self._ends_followed = 0
        runs = RunFinder()
        last: dict[str, Array] | None = None
        for number, batch in enumerate(batches):
            columns = self.named(batch)
            self._add(columns, batch.where)
            self._count_runs(runs, columns, number)
            if last is not None:
                self._look_at_ends(
                    {name: np.concatenate([last[name], columns[name]]) for name in columns if name in last}
                )
            last = {name: rows[-1:] for name, rows in columns.items()}
            self._look_at_ends(columns)
        self._finish()

    def kept(self, named: Mapping[str, Array]) -> dict[str, Array]:
        """Return the columns that all batches have, with the dtypes that they have in all."""
        specs = {**self.columns, **self.episode_columns}
        return {name: named[name].astype(spec.dtype, copy=False) for name, spec in specs.items()}

    def named(self, batch: Batch) -> dict[str, Array]:
        """Return the columns that have a value for each step, under the schema's names, flags as bool."""
        named: dict[str, Array] = {}
        reasons = {_schema_name(name): reason for name, reason in batch.left_out.items()}
        for name, rows in batch.columns.items():
            if _schema_name(name) in named:
                reasons[name] = "which stands for the same as another column"
            named.setdefault(_schema_name(name), rows)
        if REWARDS not in named:
            reason = f" ({reasons[REWARDS]})" if REWARDS in reasons else ""
            found = listed(sorted(batch.columns)) or "none"
            raise FormatError(f"{batch.where}: expected a column 'rewards'{reason}; found {found}")
        count = len(named[REWARDS])
        for name, rows in list(named.items()):
            if len(rows) != count and _is_needed(name):
                raise FormatError(
                    f"{batch.where}: expected {count:,} values in {name!r}, like 'rewards'; found {len(rows):,}"
                )
            if len(rows) != count or math.prod(rows.shape[1:]) == 0:
                reasons[name] = "not one value a step"
            elif rows.dtype.kind not in "biuf" and name not in KEYS:
                reasons[name] = "which holds texts"
            elif rows.dtype.kind in "biuf" and rows.dtype.itemsize > _MAX_ITEM_BYTES:
                reasons[name] = f"whose dtype {rows.dtype} cannot be stored"
        for name, reason in reasons.items():
            if _is_needed(name) and name not in (TIMEOUTS, DONES) and not name.startswith(NEXT_OBSERVATIONS):
                raise FormatError(f"{batch.where}: expected numbers in {name!r}; found a column {reason}")
            self._reasons.setdefault(name, reason)
            named.pop(name, None)
        return {
            name: flat_column(TERMINALS if name == DONES else name, rows, batch.where) for name, rows in named.items()
        }

    def _add(self, columns: dict[str, Array], where: str) -> None:
        self._num_batches += 1
        self.rows += len(columns[REWARDS])
        self.reward_sum += total_reward(columns[REWARDS])
        if STEP in columns and columns[STEP].dtype.kind in "iu" and columns[STEP].ndim == 1 and len(columns[STEP]):
            lowest = int(columns[STEP].min())
            self.first_step = lowest if self.first_step is None else min(lowest, self.first_step)
        for name, rows in columns.items():
            self._counts[name] = self._counts.get(name, 0) + 1
            if rows.dtype.kind not in "biuf":
                self._reasons.setdefault(name, "which holds texts (it was used to tell episodes apart)")
                continue
            known = self._found.get(name)
            if known is not None and known.shape != rows.shape[1:]:
                if _is_needed(name):
                    raise FormatError(
                        f"{where}: expected values of shape {known.shape} in {name!r}, as before; found "
                        f"{rows.shape[1:]}"
                    )
                self._reasons.setdefault(name, "whose values differ in shape")
                continue
            dtype = rows.dtype if known is None else np.result_type(known.dtype, rows.dtype)
            try:
                self._found[name] = ColumnSpec(name, dtype, rows.shape[1:])
            except SpecError as error:
                self._reasons.setdefault(name, f"which cannot be stored: {error}")

    def _count_runs(self, runs: RunFinder, columns: dict[str, Array], number: int) -> None:
        for run in runs.runs_of(columns, ends_of(columns)):
            if run.number == len(self.last_batches):
                self.last_batches.append(number)
            self.last_batches[run.number] = number

    def _look_at_ends(self, columns: dict[str, Array]) -> None:
        """Note whether next observations at ends are the first observations of what stands behind."""
        has_next = any(name.startswith(NEXT_OBSERVATIONS) for name in columns)
        ends = np.flatnonzero(ends_of(columns)[:-1] | key_changes(columns))[: ENDS_LOOKED_AT - self._ends_looked_at]
        for end in ends if has_next else ():
            self._ends_looked_at += 1
            self._ends_followed += next_rows_follow(columns, np.array([end]))

    def _finish(self) -> None:
        if not self.rows:
            raise FormatError(f"{self._where}: expected transitions, found none")
        everywhere = {name for name, count in self._counts.items() if count == self._num_batches}
        for name in self._counts:
            if name not in everywhere:
                self._reasons.setdefault(name, "which only some batches have")
        kept = {name: spec for name, spec in self._found.items() if name in everywhere and name not in self._reasons}
        observed = [name for name in kept if is_observation(name)]
        missing = [
            *([] if observed else ["obs"]),
            *([] if ACTIONS in kept else ["actions"]),
            *([] if TERMINALS in kept or DONES in kept else ["terminateds or dones"]),
        ]
        if missing:
            found = listed(sorted(self._counts))
            raise FormatError(f"{self._where}: expected {listed(missing)} in every batch; found {found}")
        following = {name for name in kept if name.partition("/")[0] == NEXT_OBSERVATIONS}
        wanted = {next_name(name): kept[name] for name in observed}
        self.has_shifted = bool(following) and 0 < self._ends_looked_at == self._ends_followed
        fits = following == set(wanted) and all(kept[name].shape == spec.shape for name, spec in wanted.items())
        if following and not fits:
            self._reasons.setdefault(listed(sorted(following)), "which do not fit the observations")
        for name in following:
            observation = OBSERVATIONS + name.removeprefix(NEXT_OBSERVATIONS)
            if not fits or self.has_shifted:
                del kept[name]
                continue
            dtype = np.result_type(kept[name].dtype, kept[observation].dtype)
            for part in (name, observation):
                kept[part] = ColumnSpec(part, dtype, kept[part].shape)
        if kept[REWARDS].dtype.kind != "f":
            kept[REWARDS] = ColumnSpec(REWARDS, np.dtype(np.float64), ())
        is_key = {name: name in KEYS and not spec.shape for name, spec in kept.items()}
        self.episode_columns = {name: spec for name, spec in kept.items() if is_key[name]}
        self.columns = {name: spec for name, spec in kept.items() if not is_key[name]}

    @property
    def left_out(self) -> list[str]:
        """Say what was not kept and why."""
        texts = (f"{name!r}, {reason}" for name, reason in self._reasons.items())
        return [text for text in texts if text]


def ends_of(columns: dict[str, Array]) -> Array:
    """Return where a flag says that an episode ends: bool, shape (N,)."""
    ends = np.zeros(len(columns[REWARDS]), bool)
    for name in _FLAGS:
        if name in columns:
            ends |= columns[name]
    return ends
