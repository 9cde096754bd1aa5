"""`rlbuffers convert robomimic`."""

from __future__ import annotations

from pathlib import Path

import click

from rlbuffers_cli.conversions import OutputOptions, files_argument, output_options, run_conversion

__all__ = ["command"]


@click.command("robomimic")
@files_argument("FILE_OR_DIR...")
@click.option("--split", metavar="NAME", help="Read the demos of mask/NAME only, such as train.  [default: all demos]")
@output_options
def command(paths: tuple[Path, ...], split: str | None, output: OutputOptions) -> None:
    """HDF5 files of robomimic, MimicGen and Isaac Lab.

    Each demonstration in data/ becomes an episode. A directory stands for the .hdf5 files in it. Several files become
    one buffer.
    """
    from rlbuffers.sources.files import files_in
    from rlbuffers.sources.robomimic.dataset import RobomimicSource

    name = paths[0].stem if split is None else f"{paths[0].stem}-{split}"
    target = output.path(Path("robomimic") / name)
    sources = [RobomimicSource(path, split=split) for path in files_in(paths, (".hdf5", ".h5"))]
    run_conversion(sources, target, output, title=paths[0].name)
