"""`rlbuffers convert d3rlpy`."""

from __future__ import annotations

from pathlib import Path

import click

from rlbuffers_cli.conversions import OutputOptions, files_argument, output_options, run_conversion

__all__ = ["command"]


@click.command("d3rlpy")
@files_argument("FILE_OR_DIR...")
@output_options
def command(paths: tuple[Path, ...], output: OutputOptions) -> None:
    """Replay buffers that d3rlpy dumped: `buffer.dump(file)`.

    ReplayBuffer of d3rlpy 2, and MDPDataset of 1 and 0. A directory stands for the .h5 and .hdf5 files in it. Several
    files become one buffer.
    """
    from rlbuffers.sources.d3rlpy.versions import d3rlpy_source
    from rlbuffers.sources.files import files_in

    target = output.path(Path("d3rlpy") / paths[0].stem)
    sources = [d3rlpy_source(path) for path in files_in(paths, (".h5", ".hdf5"))]
    run_conversion(sources, target, output, title=paths[0].name)
