"""`rlbuffers export BUFFER --to FORMAT`: write a buffer in another library's format."""

from __future__ import annotations

import click

from rlbuffers.exports import EXPORTS
from rlbuffers_cli.option_types import refused_address

__all__ = ["export"]

# Exports read every row once, in order: little is worth keeping in RAM.
_CACHE_BYTES = 32 << 20


@click.command()
@click.argument("buffer", metavar="BUFFER")
@click.option("--to", "to", type=click.Choice(sorted(EXPORTS)), required=True, help="The format to write.")
@click.option(
    "-o",
    "--output",
    callback=refused_address,
    help="Where to write; with --to minari the dataset's id.  [default: beside BUFFER]",
)
@click.option("--overwrite", is_flag=True, help="Replace existing output.")
def export(buffer: str, to: str, output: str | None, overwrite: bool) -> None:
    """Write BUFFER in another library's format; see `rlbuffers formats`."""
    import rlbuffers
    from rlbuffers.exports import default_output
    from rlbuffers.exports.export import export as run_export
    from rlbuffers_cli.console import console, facts_table, progress_bar, size_text
    from rlbuffers_cli.conversions import counted, left_out_facts

    with rlbuffers.open(buffer, cache=_CACHE_BYTES) as opened, progress_bar() as progress:
        bar = progress.add_task(f"Exporting to {to}", total=len(opened))
        report = run_export(
            opened,
            output or default_output(opened, to),
            to,
            overwrite=overwrite,
            on_progress=lambda count: progress.update(bar, completed=count, count=count),
        )
        progress.update(bar, completed=len(opened))
    facts = {
        "output": report.path,
        "in": counted(report.read),
        "out": counted(report.written),
        "size": size_text(report.output_bytes),
        "time": f"{report.seconds:.1f} s, {report.read.transitions / report.seconds:,.0f} transitions/s",
        **left_out_facts(report.left_out),
    }
    console.print(facts_table("Exported", facts))
