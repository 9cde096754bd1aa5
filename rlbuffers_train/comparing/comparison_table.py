"""The table of compared runs: as rows, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlbuffers_train.comparing.comparison import RunGroup

__all__ = ["DROPPABLE", "comparison_rows", "render_markdown"]

# The headings that a narrow terminal can go without, the least important first.
DROPPABLE = ("minutes", "steps", "last score", "best return")

_SCORES = {
    "last": "last return",
    "best": "best return",
    "last_normalized": "last score",
    "best_normalized": "best score",
}


def comparison_rows(groups: Sequence[RunGroup]) -> tuple[list[str], list[list[Any]]]:
    """Return headings, and a row for each group: its label, number of seeds, scores, steps and minutes.

    Parameters
    ----------
    groups : sequence of RunGroup
        `compare_runs`' result. Normalized scores have columns where one of these has them.
    """
    has_normalized = any(group.interval("last_normalized") for group in groups)
    names = [name for name in _SCORES if has_normalized or not name.endswith("normalized")]
    rows = []
    for group in groups:
        steps = max(run.checkpoint.step for run in group.runs)
        minutes = sum(run.seconds for run in group.runs) / len(group.runs) / 60
        scores = [_worded(group, name) for name in names]
        rows.append([group.label, len(group.runs), *scores, steps, f"{minutes:.1f}"])
    return ["run", "seeds", *(_SCORES[name] for name in names), "steps", "minutes"], rows


def render_markdown(groups: Sequence[RunGroup]) -> str:
    """Return the table as Markdown; runs of several tasks name theirs."""
    order = list(dict.fromkeys(group.task for group in groups))
    groups = sorted(groups, key=lambda group: order.index(group.task))
    headings, rows = comparison_rows(groups)
    tasks = [group.task or "none" for group in groups]
    if len(set(tasks)) > 1:
        headings = ["task", *headings]
        rows = [[task, *row] for task, row in zip(tasks, rows, strict=True)]
    aligned = ["---" if heading in ("run", "task") else "---:" for heading in headings]
    lines = [headings, aligned, *([_cell(value) for value in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(value: Any) -> str:
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text.replace("|", "\\|")


def _worded(group: RunGroup, name: str) -> str:
    interval = group.interval(name)
    if interval is None:
        return "unfinished" if name == "best" and group.interval("last") else ""
    missing = f" ({interval.num_runs} seeds)" if interval.num_runs < len(group.runs) else ""
    return (str(interval) if interval.half_width is not None else f"{interval.mean:.1f}") + missing
