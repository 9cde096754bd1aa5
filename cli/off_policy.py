"""`rlbuffers evaluate --fqe`: what a policy is worth by data alone, and how to read that."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlbuffers_cli.console import console, facts_table, print_json, progress_bar, warn

if TYPE_CHECKING:
    from rlbuffers_train.off_policy.result import MeanOfStates, OffPolicyEvaluation

__all__ = ["estimate"]

_ORIGINS = {
    True: "which the policy was trained on; data held out (rlbuffers split) are fairer",
    False: "which the policy was not trained on",
    None: "the policy was trained online",
}


def estimate(checkpoint: Path, buffer: str, *, as_json: bool, **options: Any) -> None:
    """Estimate the value of a policy; see `rlbuffers_train.evaluate_off_policy` for the options."""
    from rlbuffers_train.off_policy.judging import evaluate_off_policy

    with nullcontext() if as_json else progress_bar() as progress:

        def on_update(count: int, total: int) -> None:
            if progress is not None:  # not before all is checked: what is refused shows no bar
                bar = progress.task_ids[0] if progress.task_ids else progress.add_task("Fitting Q", total=total)
                progress.update(bar, completed=count, count=count)

        found = evaluate_off_policy(checkpoint, buffer, on_update=on_update, **options)
    for warning in found.warnings:
        warn(warning)
    if as_json:
        print_json(found.to_json())
    else:
        console.print(facts_table("", _facts(found)))


def _facts(found: OffPolicyEvaluation) -> dict[str, str]:
    where = f"where {found.value.count:,} recorded episodes begin"
    if not found.at_first_states:
        where = f"mean over {found.value.count:,} states drawn from the data, as no whole episodes are known"
    facts = {
        "policy": f"{found.algorithm} after {found.step:,} {found.step_name}, {found.path}",
        "data": f"{found.buffer}, {found.num_transitions:,} transitions, {_ORIGINS[found.is_training_data]}",
        "regression": f"{found.settings.updates:,} updates, gamma {found.gamma:g}, seed {found.seed}, "
        f"{found.eps:.0%} random actions",
        "value": f"{_worded(found.value)}, {where}",
    }
    if found.recorded is not None:
        facts["recorded"] = f"{_worded(found.recorded)}, discounted returns of the same episodes"
    if (
        found.continued is not None
        and found.recorded is not None
        and _worded(found.continued) != _worded(found.recorded)
    ):
        facts["continued"] = f"{_worded(found.continued)}, with the policy's values after those that a timeout cut"
    facts[found.closeness_name] = f"{found.closeness:.3g}"
    facts["mean TD error"] = f"{found.td_error:.3g}"
    return facts


def _worded(mean: MeanOfStates) -> str:
    error = "" if mean.standard_error is None else f" ± {mean.standard_error:.2g}"
    return f"{mean.mean:.4g}{error}"
