"""`rlbuffers compare`: training runs side by side."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rlbuffers.optional import require
from rlbuffers_cli.option_types import OutputPath

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlbuffers_train.comparing.comparison import RunGroup

__all__ = ["compare"]

_PATH = click.Path(path_type=Path)
_TABLE = ".md"


@click.command()
@click.argument("runs", type=_PATH, nargs=-1, required=True, metavar="RUN...")
@click.option(
    "-o",
    "--output",
    "outputs",
    type=OutputPath(),
    multiple=True,
    help="Curves: .png, .pdf and .svg draw them, .csv lists them. The table: .md.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: every run, and the curves.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: a line for each run.")
def compare(runs: tuple[Path, ...], outputs: tuple[Path, ...], as_json: bool, as_csv: bool) -> None:
    """Show the last and the best scores of runs, and draw their learning curves.

    A RUN is the folder of a run, or one that holds runs, such as that of several seeds. Runs that differ in their
    seed only are one line: their mean and its 95% interval.
    """
    require("torch", extra="train", purpose="Comparing runs")
    from rlbuffers.atomic import write_bytes_atomically
    from rlbuffers.errors import UsageError
    from rlbuffers_cli.console import console, print_json, warn
    from rlbuffers_cli.fitted_table import print_fitted
    from rlbuffers_train.comparing.comparison import compare_runs
    from rlbuffers_train.comparing.comparison_plot import check_curves_path, write_curves
    from rlbuffers_train.comparing.comparison_table import DROPPABLE, comparison_rows, render_markdown

    if as_json and as_csv:
        raise UsageError("--json and --csv are two forms of one output; give one of them")
    for path in outputs:
        if path.suffix.lower() != _TABLE:
            check_curves_path(path)
    groups = compare_runs(runs)
    for group in groups:
        if group.repeated:
            warn(_told_repeated(group))
    for path in outputs:
        if path.suffix.lower() == _TABLE:
            write_bytes_atomically(path, render_markdown(groups).encode())
        else:
            write_curves(path, groups)
    if as_json:
        print_json([group.to_json() for group in groups])
    elif as_csv:
        click.echo(_csv(groups), nl=False)
    else:
        tasks = dict.fromkeys(group.task for group in groups)
        for number, task in enumerate(tasks):
            if number:
                console.print()
            headings, rows = comparison_rows([group for group in groups if group.task == task])
            title = task or "no task" if len(tasks) > 1 else ""
            print_fitted(title, headings, rows, [name for name in DROPPABLE if name in headings], ["minutes"])
        for path in outputs:
            console.print(f"{'table' if path.suffix.lower() == _TABLE else 'curves'}: {path}", soft_wrap=True)


def _told_repeated(group: RunGroup) -> str:
    others = ", ".join(str(path) for path in group.repeated)
    return (
        f"{group.label}: a seed that was run again tells nothing new about the mean; of each the run that came "
        f"farthest counts, not {others}"
    )


def _csv(groups: Sequence[RunGroup]) -> str:
    lines = [{"label": group.label, **run.to_json()} for group in groups for run in group.runs]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()
