"""What is kept of a damaged buffer in the ``episodes`` layout: the episodes that can be read."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from rlbuffers.repair.columns import row_arrays, spec_without
from rlbuffers.repair.damaged import DamagedBuffer
from rlbuffers.repair.losses import Ledger
from rlbuffers.repair.salvage_plan import Indices, Mask, SalvagePlan, lost_text
from rlbuffers.repair.salvaged_array import SalvagedArray
from rlbuffers.schema import (
    EPISODE_FINAL_KNOWN,
    EPISODE_LENGTHS,
    EPISODE_STARTS,
    EPISODE_WHOLE,
    EPISODES_GROUP,
    FRAMES,
    REWARDS,
    final_name,
)

__all__ = ["plan_episodes"]


def plan_episodes(damaged: DamagedBuffer, left_out: Collection[str], ledger: Ledger) -> SalvagePlan:
    """Decide which episodes are kept if some columns are left out, and note in the ledger what that costs."""
    spec, arrays = spec_without(damaged.spec, left_out), damaged.arrays
    num_rows = damaged.stated[REWARDS].num_rows
    bounds = _boundaries(damaged, num_rows)
    starts, stops = bounds[:-1], bounds[1:]
    keep: Mask = (starts >= 0) & (stops > starts)
    for name in (EPISODE_STARTS, EPISODE_LENGTHS):
        ledger.add(name, "episodes", int((~keep).sum()) if arrays[name].num_bad_chunks else 0)
    numbers = np.arange(len(starts))
    judged = {name: arrays[name].holds(starts, stops) for name in row_arrays(spec)}
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
        lost_rows=lost_text(lost),
    )


def _final_kept(held: Mask, name: str, keep: Mask, ledger: Ledger) -> Mask:
    count = int((keep & ~held).sum())
    if count:
        ledger.add(name, "last observations", count)
    return held


def _flags(array: SalvagedArray, count: int, ledger: Ledger) -> Mask:
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
