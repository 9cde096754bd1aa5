"""What of a damaged buffer is kept, and what each loss costs.

The unit is an episode, or in the ``transitions`` layout a row: it is kept if everything that belongs to it can be
read. Three kinds of damage cost less than that:

* what follows from other arrays is worked out anew: ``stack_index``, ``episodes/returns``, and of
  ``episodes/starts`` and ``episodes/lengths`` each from the other;
* an episode whose last observation is lost keeps its steps; the observation counts as not known;
* flags of an episode that are lost are taken for false, which promises less.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rlbuffers.errors import CorruptDataError, SpecError
from rlbuffers.repair.damaged import DamagedBuffer
from rlbuffers.repair.salvaged_array import SalvagedArray
from rlbuffers.row_ranges import ranges_text
from rlbuffers.schema import (
    ACTIONS,
    EPISODE_FINAL_KNOWN,
    EPISODE_LENGTHS,
    EPISODE_RETURNS,
    EPISODE_STARTS,
    EPISODE_WHOLE,
    EPISODES_GROUP,
    EXTRAS_GROUP,
    FRAMES,
    OVERRIDE_OBSERVATIONS,
    OVERRIDE_ROWS,
    REWARDS,
    STACK_INDEX,
    TERMINALS,
    TIMEOUTS,
    BufferSpec,
    final_name,
    is_observation,
)

__all__ = ["Loss", "SalvagePlan", "make_plan", "optional_columns"]

Array = np.ndarray[Any, Any]
Indices = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

_ESSENTIAL = (ACTIONS, REWARDS, TERMINALS, TIMEOUTS)
_MAX_RANGES = 100


@dataclass(frozen=True)
class Loss:
    """What damage to one array costs.

    Parameters
    ----------
    array : str
        Its name.
    problem : str
        What is wrong with it.
    what : str
        What is lost: ``rows``, ``episodes``, ``last observations``, ``flags``, ``the column``, or ``nothing``.
    count : int
        How many of these; an episode that lost something in several arrays counts in each.
    """

    array: str
    problem: str
    what: str
    count: int

    def to_json(self) -> dict[str, Any]:
        """Return the loss as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class SalvagePlan:
    """What is kept of a buffer.

    Parameters
    ----------
    spec : BufferSpec
        Columns that are kept.
    kept : int64, shape (K,)
        Numbers of the episodes, or rows, that are kept.
    starts, lengths : int64, shape (K,)
        First row and steps of each.
    whole, final_known : bool, shape (K,)
        Flags of the episodes; empty in the ``transitions`` layout.
    override_rows : int64, shape (X,)
        Rows whose next observation is stored apart, and -1 where that is not known.
    losses : sequence of Loss
        By array.
    num_lost : int
        Episodes, or rows, that are not kept.
    num_rows_lost : int
        Transitions that are not kept.
    lost_rows : str
        Their ranges, the ends included.
    """

    spec: BufferSpec
    kept: Indices
    starts: Indices
    lengths: Indices
    whole: Mask
    final_known: Mask
    override_rows: Indices
    losses: tuple[Loss, ...]
    num_lost: int
    num_rows_lost: int
    lost_rows: str

    @property
    def num_rows(self) -> int:
        """Transitions that are kept."""
        return int(self.lengths.sum())


def optional_columns(spec: BufferSpec) -> list[str]:
    """Return the columns that a buffer can do without; of episodes and extras as ``episodes/NAME``, ``extras/NAME``."""
    columns = [name for name in spec.columns if name not in _ESSENTIAL and not _is_any_observation(name)]
    facts = [f"{EPISODES_GROUP}/{name}" for name in spec.episode_columns]
    return [*columns, *facts, *(f"{EXTRAS_GROUP}/{name}" for name in spec.extras)]


def _is_any_observation(name: str) -> bool:
    return is_observation(name) or is_observation(name.removeprefix("next_"))


def make_plan(damaged: DamagedBuffer, without: Collection[str] = ()) -> SalvagePlan:
    """Decide what is kept of a buffer whose arrays were checked.

    If nothing would be, optional columns that are damaged are left out.

    Parameters
    ----------
    damaged : DamagedBuffer
        After `check`.
    without : collection of str
        Columns to leave out, as `optional_columns` names them.

    Raises
    ------
    SpecError
        If a column cannot be left out.
    CorruptDataError
        If nothing can be salvaged.
    """
    optional = optional_columns(damaged.spec)
    wrong = sorted(set(without) - set(optional))
    if wrong:
        raise SpecError(f"{wrong[0]!r} cannot be left out; the choice is {', '.join(optional) or 'empty'}")
    # Extras are written last: of an interrupted buffer nobody can say whether they are all there.
    hopeless = [
        name
        for name in optional
        if name.startswith(f"{EXTRAS_GROUP}/") and (damaged.is_interrupted or damaged.arrays[name].num_bad_chunks)
    ]
    plan = _plan(damaged, {*without, *hopeless})
    if not len(plan.kept):
        broken = [name for name in optional if damaged.arrays[name].num_bad_chunks]
        plan = _plan(damaged, {*without, *hopeless, *broken})
    if not len(plan.kept):
        reasons = "; ".join(f"{loss.array}: {loss.problem}" for loss in plan.losses)
        raise CorruptDataError(f"{damaged.path}: nothing is whole ({reasons or 'there are no rows'})")
    return plan


def _plan(damaged: DamagedBuffer, left_out: Collection[str]) -> SalvagePlan:
    ledger = _Ledger(damaged)
    for name in sorted(left_out):
        ledger.add(name, "the column", 1)
    for name in {STACK_INDEX, EPISODE_RETURNS} & set(damaged.arrays):
        ledger.add(name, "nothing", 0)
    if damaged.spec.layout == "episodes":
        return _plan_episodes(damaged, left_out, ledger)
    return _plan_transitions(damaged, left_out, ledger)


class _Ledger:
    """The losses so far."""

    def __init__(self, damaged: DamagedBuffer) -> None:
        self.losses: list[Loss] = []
        self._arrays = damaged.arrays
        self._unwritten = [f"{EXTRAS_GROUP}/{name}" for name in damaged.spec.extras] if damaged.is_interrupted else []

    def add(self, name: str, what: str, count: int) -> None:
        """Note what an array costs, unless it is sound."""
        array = self._arrays[name]
        if what == "the column" and not array.num_bad_chunks:
            asked = "not written before the interruption" if name in self._unwritten else "left out as was asked for"
            self.losses.append(Loss(name, asked, what, count))
        elif array.num_bad_chunks:
            chunks = f"{array.num_bad_chunks:,} of {array.array.num_chunks:,} chunks cannot be read"
            problem = f"{chunks}: {array.problem}" if array.problem else chunks
            self.losses.append(Loss(name, problem, what if count else "nothing", count))
        elif count:
            self.losses.append(Loss(name, array.problem or "its end is missing", what, count))


def _plan_episodes(damaged: DamagedBuffer, left_out: Collection[str], ledger: _Ledger) -> SalvagePlan:
    spec, arrays = _without(damaged.spec, left_out), damaged.arrays
    num_rows = damaged.stated[REWARDS].num_rows
    bounds = _boundaries(damaged, num_rows)
    starts, stops = bounds[:-1], bounds[1:]
    keep: Mask = (starts >= 0) & (stops > starts)
    for name in (EPISODE_STARTS, EPISODE_LENGTHS):
        ledger.add(name, "episodes", int((~keep).sum()) if arrays[name].num_bad_chunks else 0)
    numbers = np.arange(len(starts))
    judged = {name: arrays[name].holds(starts, stops) for name in _row_arrays(spec)}
    for name in spec.episode_columns:
        judged[f"{EPISODES_GROUP}/{name}"] = arrays[f"{EPISODES_GROUP}/{name}"].holds(numbers, numbers + 1)
    final_known = _flags(arrays[EPISODE_FINAL_KNOWN], len(numbers), ledger)
    whole = _flags(arrays[EPISODE_WHOLE], len(numbers), ledger)
    if spec.stack:
        first, last = starts + numbers * spec.stack, stops + (numbers + 1) * spec.stack - 1
        judged[FRAMES] = arrays[FRAMES].holds(first, last)
        final_known &= _final_kept(arrays[FRAMES].holds(last, last + 1), FRAMES, keep & judged[FRAMES], ledger)
    for name in spec.observation_names if not spec.stack else ():
        held = arrays[final_name(name)].holds(numbers, numbers + 1)
        final_known &= _final_kept(held, final_name(name), keep, ledger)
    candidates = keep.copy()  # what an array costs is counted among the episodes whose boundaries are known
    for name, held in judged.items():
        ledger.add(name, "episodes", int((candidates & ~held).sum()))
        keep &= held
    kept = np.flatnonzero(keep)
    lost = np.ones(num_rows, bool)
    for start, stop in zip(starts[kept].tolist(), stops[kept].tolist(), strict=True):
        lost[start:stop] = False
    return SalvagePlan(
        spec=spec,
        kept=kept,
        starts=starts[kept],
        lengths=(stops - starts)[kept],
        whole=whole[kept],
        final_known=final_known[kept],
        override_rows=np.empty(0, np.int64),
        losses=tuple(ledger.losses),
        num_lost=int((~keep).sum()),
        num_rows_lost=int(lost.sum()),
        lost_rows=ranges_text(np.flatnonzero(lost), _MAX_RANGES),
    )


def _final_kept(held: Mask, name: str, keep: Mask, ledger: _Ledger) -> Mask:
    count = int((keep & ~held).sum())
    if count:
        ledger.add(name, "last observations", count)
    return held


def _flags(array: SalvagedArray, count: int, ledger: _Ledger) -> Mask:
    """Return flags of the episodes, false where they cannot be read."""
    numbers = np.arange(count)
    held = array.holds(numbers, numbers + 1)
    ledger.add(array.name, "flags", int((~held).sum()))
    flags: Mask = array.rows(0, count) & held
    return flags


def _boundaries(damaged: DamagedBuffer, num_rows: int) -> Indices:
    """Return the first row of each episode and the end of the last one, shape (E + 1,); -1 where no array tells."""
    arrays, count = damaged.arrays, damaged.stated[EPISODE_LENGTHS].num_rows
    starts, lengths = (arrays[name].rows(0, count) for name in (EPISODE_STARTS, EPISODE_LENGTHS))
    starts_known, lengths_known = (arrays[name].good_rows(count) for name in (EPISODE_STARTS, EPISODE_LENGTHS))
    bounds = np.full(count + 1, -1, np.int64)
    bounds[:-1][starts_known] = starts[starts_known]
    if not damaged.is_interrupted:
        bounds[-1] = num_rows
    bounds[0] = 0
    # Only what borders on an unknown boundary is worth a step: mostly nothing.
    for number in np.flatnonzero(bounds < 0).tolist():
        if number and bounds[number - 1] >= 0 and lengths_known[number - 1]:
            bounds[number] = bounds[number - 1] + lengths[number - 1]
    for number in np.flatnonzero(bounds < 0)[::-1].tolist():
        if number < count and bounds[number + 1] >= 0 and lengths_known[number]:
            bounds[number] = bounds[number + 1] - lengths[number]
    return bounds


def _plan_transitions(damaged: DamagedBuffer, left_out: Collection[str], ledger: _Ledger) -> SalvagePlan:
    spec, arrays = _without(damaged.spec, left_out), damaged.arrays
    num_rows = damaged.stated[REWARDS].num_rows
    rows = np.arange(num_rows)
    judged = {name: arrays[name].holds(rows, rows + 1) for name in _row_arrays(spec)}
    overrides = np.empty(0, np.int64)
    if spec.stack:
        depth = spec.stack + 1
        judged[FRAMES] = arrays[FRAMES].holds(rows * depth, (rows + 1) * depth)
        overrides, judged[OVERRIDE_ROWS] = _overrides(damaged, num_rows)
        judged[OVERRIDE_OBSERVATIONS] = np.ones(num_rows, bool)
        unreadable = ~arrays[OVERRIDE_OBSERVATIONS].good_rows(len(overrides)) & (overrides >= 0)
        judged[OVERRIDE_OBSERVATIONS][overrides[unreadable]] = False
    keep = np.ones(num_rows, bool)
    for name, held in judged.items():
        ledger.add(name, "rows", int((~held).sum()))
        keep &= held
    kept = np.flatnonzero(keep)
    none = np.empty(0, bool)
    return SalvagePlan(
        spec=spec,
        kept=kept,
        starts=kept,
        lengths=np.ones(len(kept), np.int64),
        whole=none,
        final_known=none,
        override_rows=overrides,
        losses=tuple(ledger.losses),
        num_lost=num_rows - len(kept),
        num_rows_lost=num_rows - len(kept),
        lost_rows=ranges_text(np.flatnonzero(~keep), _MAX_RANGES),
    )


def _overrides(damaged: DamagedBuffer, num_rows: int) -> tuple[Indices, Mask]:
    """Return the rows with a next observation of their own, and of which rows it is known whether they have one.

    Where a number is lost, any row between the neighbors that are known may have been meant.
    """
    array = damaged.arrays[OVERRIDE_ROWS]
    count = damaged.stated[OVERRIDE_ROWS].num_rows
    known = array.good_rows(count)
    rows = np.where(known, array.rows(0, count), -1)
    told = np.ones(num_rows, bool)
    edges = np.flatnonzero(np.diff(np.concatenate([[True], known, [True]]).astype(np.int8)))
    for first, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        low = int(rows[first - 1]) + 1 if first else 0
        high = int(rows[stop]) if stop < count else num_rows
        told[low:high] = False
    return rows, told


def _row_arrays(spec: BufferSpec) -> list[str]:
    """Return the arrays with a row for each transition that cannot be worked out from others."""
    stacked = [name for name in spec.columns if spec.stack and _is_any_observation(name)]
    return [name for name in spec.columns if name not in (*stacked, STACK_INDEX)]


def _without(spec: BufferSpec, left_out: Collection[str]) -> BufferSpec:
    return BufferSpec(
        spec.layout,
        [column for name, column in spec.columns.items() if name not in left_out],
        spec.order,
        spec.stack,
        [column for name, column in spec.episode_columns.items() if f"{EPISODES_GROUP}/{name}" not in left_out],
        [column for name, column in spec.extras.items() if f"{EXTRAS_GROUP}/{name}" not in left_out],
    )
