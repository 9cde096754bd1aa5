"""`rlbuffers normalize BUFFER`: check the statistics of a buffer, or write it with normalized observations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rlbuffers_cli.editing import json_option, overwrite_option, print_reports, progress
from rlbuffers_cli.option_types import OutputPath

if TYPE_CHECKING:
    from rlbuffers.editing.normalize import StatisticsReport

__all__ = ["normalize"]


@click.command()
@click.argument("buffer", metavar="BUFFER")
@click.option("--stats", is_flag=True, help="Show the statistics, after checking them against the data.")
@click.option("-o", "--output", metavar="NEW", type=OutputPath(), help="The new buffer.")
@click.option("--epsilon", type=float, help="Added to the standard deviation.  [default: 0.001]")
@overwrite_option
@json_option
@click.pass_context
def normalize(
    ctx: click.Context,
    buffer: str,
    stats: bool,
    output: Path | None,
    epsilon: float | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Check BUFFER's statistics (--stats), or write it with observations (x - mean) / (std + epsilon) (-o NEW).

    The new buffer carries mean and standard deviation, so that the same can be done to an environment's observations,
    and undone. With --stats, the exit code is 1 if the stored statistics are not those of the data.
    """
    import rlbuffers
    from rlbuffers.errors import UsageError

    if stats == (output is not None):
        raise UsageError("give either --stats, to see the statistics, or -o NEW, to write normalized observations")
    if output is not None:
        with progress("Normalizing", quiet=as_json) as on_progress:
            given = {} if epsilon is None else {"epsilon": epsilon}
            report = rlbuffers.normalize(buffer, output, overwrite=overwrite, on_progress=on_progress, **given)
        print_reports("Normalized", [report], as_json=as_json)
        return
    _show_statistics(ctx, buffer, as_json=as_json)


def _show_statistics(ctx: click.Context, buffer: str, *, as_json: bool) -> None:
    from rlbuffers.editing.normalize import check_statistics
    from rlbuffers_cli.console import print_json

    with progress("Reading", quiet=as_json) as on_progress:
        report = check_statistics(buffer, on_progress=on_progress)
    if as_json:
        print_json(report.to_json())
    else:
        _print_table(report)
    if report.wrong:
        ctx.exit(1)


def _print_table(report: StatisticsReport) -> None:
    import numpy as np

    from rlbuffers_cli.console import console, rows_table, warn

    rows = []
    for name, statistics in report.found.items():
        arrays = [np.array(statistics[key], np.float64) for key in ("mean", "std", "min", "max") if key in statistics]
        if not arrays:
            continue
        for index in np.ndindex(arrays[0].shape):
            label = f"{name}[{', '.join(map(str, index))}]" if index else name
            rows.append([label, *(f"{array[index]:.6g}" for array in arrays)])
    console.print(rows_table("Statistics", ["column", "mean", "std", "min", "max"], rows))
    for name in report.wrong:
        warn(f"{name}: the stored statistics are not those of the data; `rlbuffers validate` checks the rest")
    if not report.wrong:
        console.print(f"{report.path}: the stored statistics are those of the data", soft_wrap=True)
