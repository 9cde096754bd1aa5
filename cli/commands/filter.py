"""`rlbuffers filter BUFFER --where CONDITION -o NEW`: the episodes or transitions of which a condition is true."""

from __future__ import annotations

from pathlib import Path

import click

from rlbuffers_cli.editing import print_reports, progress, result_options

__all__ = ["filter_command"]


@click.command("filter")
@click.argument("buffer", metavar="BUFFER")
@click.option("--where", metavar="CONDITION", help="Such as 'return > 3000' or 'mean(abs(actions)) < 0.5'.")
@click.option("--top-returns", type=float, help="Fraction of the whole episodes, those of the highest returns: 0.1.")
@click.option("--min-length", type=click.IntRange(min=1), help="Least number of steps of an episode.")
@result_options
def filter_command(
    buffer: str,
    where: str | None,
    top_returns: float | None,
    min_length: int | None,
    output: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    r"""Write the episodes of BUFFER, or independent transitions, that satisfy all conditions.

    A condition knows of each episode return, length, episode (its number), whole, terminal and timeout (how it ends)
    and its episode columns, and of each step the columns, of which all, any, first, last, max, mean, min, std and sum
    make one value an episode. Of independent transitions it knows the columns and row.

    \b
      --where 'return > 3000 and length >= 100'
      --where 'max(abs(actions)) <= 0.99'
      --where 'last(infos/success) and not timeout'
      --where 'actions in (0, 2) or rewards > 0'        (independent transitions)
    """
    import rlbuffers

    with progress("Filtering", quiet=as_json) as on_progress:
        report = rlbuffers.filter(
            buffer,
            output,
            where,
            top_returns=top_returns,
            min_length=min_length,
            overwrite=overwrite,
            on_progress=on_progress,
        )
    print_reports("Filtered", [report], as_json=as_json)
