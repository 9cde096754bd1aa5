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

from rlbuffers.errors import CorruptDataError, SpecError
from rlbuffers.listing import listed
from rlbuffers.repair.columns import optional_columns
from rlbuffers.repair.damaged import DamagedBuffer
from rlbuffers.repair.episode_plan import plan_episodes
from rlbuffers.repair.losses import Ledger
from rlbuffers.repair.row_plan import plan_transitions
from rlbuffers.repair.salvage_plan import SalvagePlan
from rlbuffers.schema import EPISODE_RETURNS, EXTRAS_GROUP, STACK_INDEX

__all__ = ["make_plan"]


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
        raise SpecError(f"{wrong[0]!r} cannot be left out; the choice is {listed(optional) or 'empty'}")
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
    ledger = Ledger(damaged)
    for name in sorted(left_out):
        ledger.add(name, "the column", 1)
    for name in sorted({STACK_INDEX, EPISODE_RETURNS} & set(damaged.arrays)):
        ledger.add(name, "nothing", 0)
    if damaged.spec.layout == "episodes":
        return plan_episodes(damaged, left_out, ledger)
    return plan_transitions(damaged, left_out, ledger)
