"""`rlbuffers convert lerobot`."""

from __future__ import annotations

from pathlib import Path

import click

from rlbuffers_cli.conversions import OutputOptions, output_options, run_conversion

__all__ = ["command"]


@click.command("lerobot")
@click.argument(
    "folders", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False)
)
@output_options
def command(folders: tuple[Path, ...], output: OutputOptions) -> None:
    """LeRobot datasets of versions 2.0, 2.1 and 3.0.

    DIR is a dataset, with meta/ and data/ in it. Images in the Parquet files are read; videos are left out. Several
    datasets become one buffer.
    """
    from rlbuffers.sources.lerobot.dataset import LeRobotSource

    name = folders[0].resolve().name
    target = output.path(Path("lerobot") / name)
    sources = [LeRobotSource(folder) for folder in folders]
    run_conversion(sources, target, output, title=name)
