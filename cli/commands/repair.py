"""`rlbuffers repair BUFFER -o NEW`: salvage what is whole."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rlbuffers_cli.option_types import OutputPath

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from rlbuffers.repair.losses import Loss
    from rlbuffers.repair.repair import RepairReport

__all__ = ["repair"]


@click.command()
@click.argument("buffer", metavar="BUFFER")
@click.option("-o", "--output", metavar="NEW", type=OutputPath(), help="The new buffer, .hdf5, .zarr or .zarr.zip.")
@click.option("--dry-run", is_flag=True, help="Say what could be salvaged, and write nothing.")
@click.option("--without", multiple=True, metavar="NAME", help="Leave out a damaged column to keep its rows.")
@click.option("--trust-metadata", is_flag=True, help="Take metadata that fail their checksum as they are.")
@click.option("--overwrite", is_flag=True, help="Replace an existing buffer.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def repair(
    buffer: str,
    output: Path | None,
    dry_run: bool,
    without: tuple[str, ...],
    trust_metadata: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write what is whole of a damaged or interrupted BUFFER as a new one.

    Every chunk is checked. Episodes, or independent transitions, of which something cannot be read are dropped; what
    was lost is printed, and stands in the new buffer's metadata. BUFFER stays as it is.
    """
    from rlbuffers.errors import UsageError
    from rlbuffers.repair.repair import repair as run_repair
    from rlbuffers_cli.console import print_json, progress_bar

    if (output is None) != dry_run:
        raise UsageError("say where to write with -o NEW, or --dry-run to write nothing")
    with nullcontext() if as_json else progress_bar() as progress:
        report = run_repair(
            buffer,
            output,
            overwrite=overwrite,
            without=without,
            trust_metadata=trust_metadata,
            on_progress=None if progress is None else _Bars(progress),
        )
    if as_json:
        print_json(report.to_json())
    else:
        _print(report)


class _Bars:
    """One progress bar for each thing that is done, shown when it begins."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        if what not in self._bars:
            self._bars[what] = self._progress.add_task(what, total=total)
        self._progress.update(self._bars[what], completed=done, total=total)


def _print(report: RepairReport) -> None:
    from rlbuffers_cli.console import console, facts_table, rows_table, size_text
    from rlbuffers_cli.conversions import counted

    if not report.is_damaged:
        console.print(f"{report.path}: nothing is damaged; nothing was written", soft_wrap=True)
        return
    for problem in report.problems:
        console.print(f"{report.path}: {problem}", soft_wrap=True, style="bold yellow")
    if report.losses:
        rows = [
            [loss.array, f"{loss.count:,} {loss.what}" if loss.count else loss.what, loss.problem]
            for loss in report.losses
        ]
        console.print(rows_table("Damage", ["array", "costs", "because"], rows))
        console.print()
    total = report.num_rows_kept + report.num_rows_lost
    share = report.num_rows_lost / total if total else 0.0
    episodes = f"{report.num_lost:,} of {report.num_lost + report.num_kept:,} episodes, "
    facts = {
        **({"from": "an interrupted writer, up to its last checkpoint"} if report.is_interrupted else {}),
        "lost": f"{episodes if report.unit == 'episodes' else ''}{report.num_rows_lost:,} of {total:,} transitions "
        f"({share:.2%})",
        **({"lost rows": report.lost_rows} if report.lost_rows else {}),
    }
    if report.output is not None and report.kept is not None:
        facts |= {
            "buffer": str(report.output),
            "out": counted(report.kept),
            "size": size_text(report.buffer_bytes),
            "time": f"{report.seconds:.1f} s",
            "fingerprint": report.fingerprint,
        }
    else:
        facts["could be written"] = f"{report.num_rows_kept:,} transitions"
    console.print(facts_table("Salvaged", facts))
    if report.remains is not None and report.output is not None:
        console.print(f"{report.remains} and the files beside it are kept until you remove them", soft_wrap=True)


def _cost(loss: Loss) -> str:
    return f"{loss.count:,} {loss.what}" if loss.count and loss.what != "the column" else loss.what
