"""`rlbuffers subset BUFFER --size N -o NEW`: the first, or a random, part of a buffer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rlbuffers_cli.editing import print_reports, progress, result_options

if TYPE_CHECKING:
    from rlbuffers.editing.subset import By

__all__ = ["subset"]


def _size(ctx: click.Context, parameter: click.Parameter, text: str) -> int | float:
    """Read a number of transitions, or a fraction: ``100000``, ``100_000``, ``10%``, ``0.01``."""
    try:
        if text.endswith("%"):
            return float(text[:-1]) / 100
        return float(text) if "." in text else int(text.replace(",", ""))
    except ValueError:
        raise click.BadParameter(
            f"{text!r}: expected a number of transitions such as 100000, or a fraction such as 10% or 0.1"
        ) from None


@click.command()
@click.argument("buffer", metavar="BUFFER")
@click.option(
    "--size",
    callback=_size,
    metavar="SIZE",
    required=True,
    help="Transitions, such as 100000, or a fraction: 10% or 0.1.",
)
@click.option(
    "--by",
    type=click.Choice(["first", "random", "episodes"]),
    default="first",
    show_default=True,
    help="From the beginning, drawn at random, or drawn by whole episodes.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of what is drawn.")
@click.option("--cut", is_flag=True, help="Cut the last chosen episode to meet the size exactly.")
@result_options
def subset(
    buffer: str, size: int | float, by: By, seed: int, cut: bool, output: Path, overwrite: bool, as_json: bool
) -> None:
    """Write a part of BUFFER as a new buffer.

    Of independent transitions the first or random ones are taken. Of episodes whole ones are taken, until the size is
    reached: without --cut there may be more transitions than asked for, by less than the last episode's length.
    """
    import rlbuffers

    with progress("Choosing", quiet=as_json) as on_progress:
        report = rlbuffers.subset(
            buffer, output, size, by=by, seed=seed, cut=cut, overwrite=overwrite, on_progress=on_progress
        )
    print_reports("Chosen", [report], as_json=as_json)
