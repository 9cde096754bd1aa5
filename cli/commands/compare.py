"""`rlbuffers compare`: training runs side by side."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlbuffers.optional import require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlbuffers_train.comparison import RunGroup

__all__ = ["compare"]

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("runs", type=_PATH, nargs=-1, required=True, metavar="RUN...")
@click.option("-o", "--output", "outputs", type=_PATH, multiple=True, help="Curves: .png draws them, .csv lists them.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: every run, and the curves.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: a line for each run.")
def compare(runs: tuple[Path, ...], outputs: tuple[Path, ...], as_json: bool, as_csv: bool) -> None:
    """Show the last and the best scores of runs, and draw their learning curves.

    A RUN is the folder of a run, or one that holds runs, such as that of several seeds. Runs that differ in their
    seed only are one line: their mean and its 95% interval.
    """
    require("torch", extra="train", purpose="Comparing runs")
    from rlbuffers.errors import UsageError
    from rlbuffers_cli.console import console, print_json, rows_table
    from rlbuffers_train.comparison import compare_runs
    from rlbuffers_train.comparison_plot import check_curves_path, write_curves

    if as_json and as_csv:
        raise UsageError("--json and --csv are two forms of one output; give one of them")
    for path in outputs:
        check_curves_path(path)
    groups = compare_runs(runs)
    for path in outputs:
        write_curves(path, groups)
    if as_json:
        print_json([group.to_json() for group in groups])
    elif as_csv:
        click.echo(_csv(groups), nl=False)
    else:
        headings, rows = _table(groups)
        console.print(rows_table("", headings, rows))
        for path in outputs:
            console.print(f"curves: {path}", soft_wrap=True)


def _table(groups: Sequence[RunGroup]) -> tuple[list[str], list[list[Any]]]:
    names = ["last", "best"]
    if any(group.interval("last_normalized") for group in groups):
        names += ["last_normalized", "best_normalized"]
    tasks = {group.task for group in groups}
    rows = []
    for group in groups:
        scores = [_worded(group, name) for name in names]
        steps = max(run.checkpoint.step for run in group.runs)
        minutes = sum(run.seconds for run in group.runs) / len(group.runs) / 60
        place = [group.task or "none"] if len(tasks) > 1 else []
        rows.append([group.label, *place, len(group.runs), *scores, steps, f"{minutes:.1f}"])
    shown = ["last return", "best return", "last score", "best score"][: len(names)]
    return ["run", *(["task"] if len(tasks) > 1 else []), "seeds", *shown, "steps", "minutes"], rows


def _worded(group: RunGroup, name: str) -> str:
    interval = group.interval(name)
    if interval is None:
        return "unfinished" if name == "best" and group.interval("last") else ""
    missing = f" ({interval.num_runs} seeds)" if interval.num_runs < len(group.runs) else ""
    return (str(interval) if interval.half_width is not None else f"{interval.mean:.1f}") + missing


def _csv(groups: Sequence[RunGroup]) -> str:
    lines = [{"label": group.label, **run.to_json()} for group in groups for run in group.runs]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()
