"""`rlbuffers convert imitation`."""

from __future__ import annotations

from pathlib import Path

import click

from rlbuffers_cli.conversions import OutputOptions, files_argument, output_options, run_conversion

__all__ = ["command"]


@click.command("imitation")
@files_argument("FILE_OR_DIR...")
@output_options
def command(paths: tuple[Path, ...], output: OutputOptions) -> None:
    """Trajectories of the imitation library, as its versions before 1.0 save them (.npz).

    A directory stands for the .npz files in it. Several files become one buffer.
    """
    from rlbuffers.sources.files import files_in
    from rlbuffers.sources.imitation import ImitationSource

    target = output.path(Path("imitation") / paths[0].stem)
    sources = [ImitationSource(path) for path in files_in(paths, (".npz",))]
    run_conversion(sources, target, output, title=paths[0].name)
