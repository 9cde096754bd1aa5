"""`rlbuffers convert exorl`."""

from __future__ import annotations

from pathlib import Path

import click

from rlbuffers_cli.conversions import OutputOptions, files_argument, output_options, run_conversion

__all__ = ["command"]


@click.command("exorl")
@files_argument("FILE_OR_DIR...")
@output_options
def command(paths: tuple[Path, ...], output: OutputOptions) -> None:
    """Folders of one archive (.npz) an episode: ExORL, DrQ-v2, URLB, and V-D4RL's files for DreamerV2.

    A row holds an observation and the action, reward and discount that led to it. A directory stands for the .npz files
    in it, in natural order.
    """
    from rlbuffers.sources.exorl import ExORLSource
    from rlbuffers.sources.files import files_in

    target = output.path(Path("exorl") / paths[0].stem)
    run_conversion([ExORLSource(files_in(paths, (".npz",)))], target, output, title=paths[0].name)
