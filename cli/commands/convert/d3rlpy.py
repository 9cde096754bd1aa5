"""`rlbuffers convert d3rlpy`."""

from __future__ import annotations

from pathlib import Path

import click

from rlbuffers_cli.conversions import files_argument, output_options, output_path, run_conversion

__all__ = ["command"]


@click.command("d3rlpy")
@files_argument("FILE_OR_DIR...")
@output_options
def command(
    paths: tuple[Path, ...],
    output: Path | None,
    buffer_dir: Path,
    format_name: str | None,
    overwrite: bool,
    workers: int,
) -> None:
    """Replay buffers that d3rlpy dumped: `buffer.dump(file)`.

    ReplayBuffer of d3rlpy 2, and MDPDataset of 1 and 0. A directory stands for the .h5 and .hdf5 files in it. Several
    files become one buffer.
    """
    from rlbuffers.sources.d3rlpy.versions import d3rlpy_source
    from rlbuffers.sources.files import files_in

    target = output_path(Path("d3rlpy") / paths[0].stem, output, buffer_dir, format_name, overwrite=overwrite)
    sources = [d3rlpy_source(path) for path in files_in(paths, (".h5", ".hdf5"))]
    run_conversion(sources, target, overwrite=overwrite, workers=workers, title=paths[0].name)
