"""What the commands that make a buffer of a buffer share: options, the progress bar, and the closing lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rlbuffers_cli.option_types import OutputPath

if TYPE_CHECKING:
    from rlbuffers.editing.derivation import EditReport, OnProgress

__all__ = ["json_option", "output_option", "overwrite_option", "print_reports", "progress", "result_options"]

Command = TypeVar("Command", bound=Callable[..., Any])

output_option = click.option(
    "-o",
    "--output",
    metavar="NEW",
    type=OutputPath(),
    required=True,
    help="The new buffer, .hdf5, .zarr or .zarr.zip.",
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace an existing buffer.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON.")


def result_options(command: Command) -> Command:
    """Add the options of every command that writes one buffer: output, overwrite, as_json."""
    for option in (json_option, overwrite_option, output_option):
        command = option(command)
    return command


@contextmanager
def progress(doing: str, *, quiet: bool) -> Iterator[OnProgress | None]:
    """Show a progress bar while the block runs and give what moves it, or None where nothing may be printed."""
    if quiet:
        yield None
        return
    from rlbuffers_cli.console import progress_bar

    with progress_bar() as shown:
        bar = shown.add_task(doing, total=None)
        yield lambda count, total: shown.update(bar, completed=count, total=total, count=count)


def print_reports(title: str, reports: Sequence[EditReport], *, as_json: bool) -> None:
    """Print what was made: counts and sums of rewards in and out, size and time."""
    from rlbuffers_cli.console import console, facts_table, print_json, size_text, warn
    from rlbuffers_cli.conversions import counted

    if as_json:
        described = [report.to_json() for report in reports]
        print_json(described[0] if len(described) == 1 else described)
        return
    for number, report in enumerate(reports):
        several = len(report.parents) > 1
        facts = {"buffer": str(report.path)}
        if number == 0:  # the parents of all are the same
            for place, parent in enumerate(report.parents, 1):
                facts[f"in {place}" if several else "in"] = f"{parent.path}: {counted(parent.tally)}"
        facts.update(
            {
                "out": counted(report.written),
                "size": size_text(report.buffer_bytes),
                "time": f"{report.seconds:.1f} s, {report.written.transitions / report.seconds:,.0f} transitions/s",
                "fingerprint": report.fingerprint,
            }
        )
        console.print(facts_table(title if number == 0 else "", facts))
        for note in report.notes:
            warn(note)
