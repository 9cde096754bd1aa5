"""`rlbuffers convert tianshou`."""

from __future__ import annotations

from pathlib import Path

import click

from rlbuffers_cli.conversions import OutputOptions, files_argument, output_options, run_conversion

__all__ = ["command"]


@click.command("tianshou")
@files_argument("FILE_OR_DIR...")
@output_options
def command(paths: tuple[Path, ...], output: OutputOptions) -> None:
    """Replay buffers that Tianshou saved: `buffer.save_hdf5("x.hdf5")`.

    ReplayBuffer, VectorReplayBuffer and their prioritized and cached kin, of Tianshou 0.3 to 2. A directory stands for
    the .hdf5 and .h5 files in it. Several files become one buffer. Pickles are refused.
    """
    from rlbuffers.sources.files import files_in
    from rlbuffers.sources.tianshou.hdf5 import TianshouSource

    target = output.path(Path("tianshou") / paths[0].stem)
    sources = [TianshouSource(path) for path in files_in(paths, (".hdf5", ".h5"))]
    run_conversion(sources, target, output, title=paths[0].name)
