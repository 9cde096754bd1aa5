"""`rlbuffers convert ogbench`."""

from __future__ import annotations

from pathlib import Path

import click

from rlbuffers_cli.conversions import (
    OutputOptions,
    files_argument,
    map_option,
    names_of_pairs,
    output_options,
    run_conversion,
)

__all__ = ["command"]


@click.command("ogbench")
@files_argument("FILE_OR_DIR...")
@map_option("my_obs=observations")
@output_options
def command(paths: tuple[Path, ...], pairs: tuple[str, ...], output: OutputOptions) -> None:
    """OGBench's archives, NAME.npz and NAME-val.npz.

    Their terminals are ends of recordings and become timeouts; a task is done where masks are 0, in files that have
    them. The last row of a trajectory is its last observation. The environment is known by the file's name. A directory
    stands for the .npz files in it. Several files become one buffer.
    """
    from rlbuffers.sources.files import files_in
    from rlbuffers.sources.ogbench import OGBenchSource

    names = names_of_pairs(pairs)
    target = output.path(Path("ogbench") / paths[0].stem)
    sources = [OGBenchSource(path, names) for path in files_in(paths, (".npz",))]
    run_conversion(sources, target, output, title=paths[0].name)
