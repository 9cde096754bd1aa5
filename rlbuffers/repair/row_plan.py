"""What is kept of a damaged buffer in the ``transitions`` layout: the rows that can be read."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from rlbuffers.repair.columns import row_arrays, spec_without
from rlbuffers.repair.damaged import DamagedBuffer
from rlbuffers.repair.losses import Ledger
from rlbuffers.repair.salvage_plan import Indices, Mask, SalvagePlan, lost_text
from rlbuffers.schema import FRAMES, OVERRIDE_OBSERVATIONS, OVERRIDE_ROWS, REWARDS

__all__ = ["plan_transitions"]


def plan_transitions(damaged: DamagedBuffer, left_out: Collection[str], ledger: Ledger) -> SalvagePlan:
    """Decide which rows are kept if some columns are left out, and note in the ledger what that costs."""
    spec, arrays = spec_without(damaged.spec, left_out), damaged.arrays
    num_rows = damaged.stated[REWARDS].num_rows
    rows = np.arange(num_rows)
    judged = {name: arrays[name].holds(rows, rows + 1) for name in row_arrays(spec)}
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
        lost_rows=lost_text(~keep),
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
