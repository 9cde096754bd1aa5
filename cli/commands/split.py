"""`rlbuffers split BUFFER`: a buffer as several."""

from __future__ import annotations

from pathlib import Path

import click

from rlbuffers_cli.conversions import CONTAINERS
from rlbuffers_cli.editing import json_option, overwrite_option, print_reports, progress
from rlbuffers_cli.option_types import OutputPath

__all__ = ["split"]


def _fractions(ctx: click.Context, parameter: click.Parameter, text: str | None) -> list[float] | None:
    """Read numbers separated by commas."""
    try:
        return None if text is None else [float(number) for number in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"{text!r}: expected numbers separated by commas, such as 0.9,0.1") from None


@click.command()
@click.argument("buffer", metavar="BUFFER")
@click.option("--fractions", callback=_fractions, help="Share of the episodes for each part, drawn at random: 0.9,0.1.")
@click.option("--parts", type=click.IntRange(min=2), help="Cut into so many parts of the same size, in order.")
@click.option("--episodes-per-part", type=click.IntRange(min=1), help="Cut after so many episodes each, in order.")
@click.option("--names", help="Of the parts, separated by commas: train,test.  [default: 00001-of-00002, ...]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the drawing.")
@click.option("--output-dir", type=OutputPath(file_okay=False), help="[default: beside BUFFER]")
@click.option("--format", "format_name", type=CONTAINERS, help="[default: that of BUFFER]")
@overwrite_option
@json_option
def split(
    buffer: str,
    fractions: list[float] | None,
    parts: int | None,
    episodes_per_part: int | None,
    names: str | None,
    seed: int,
    output_dir: Path | None,
    format_name: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Divide BUFFER's episodes, or independent transitions, among new buffers.

    They are named after BUFFER: runs.hdf5 becomes runs-train.hdf5 and runs-test.hdf5. Either all of them are written
    or none.
    """
    import rlbuffers

    with progress("Splitting", quiet=as_json) as on_progress:
        reports = rlbuffers.split(
            buffer,
            output_dir,
            fractions=fractions,
            parts=parts,
            episodes_per_part=episodes_per_part,
            names=names.split(",") if names is not None else None,
            seed=seed,
            format_name=format_name,
            overwrite=overwrite,
            on_progress=on_progress,
        )
    print_reports("Split", reports, as_json=as_json)
