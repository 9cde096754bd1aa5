"""`rlbuffers convert npz`."""

from __future__ import annotations

from pathlib import Path

import click

from rlbuffers_cli.conversions import OutputOptions, files_argument, output_options, run_conversion

__all__ = ["command"]


@click.command("npz")
@files_argument("FILE_OR_DIR...")
@output_options
def command(paths: tuple[Path, ...], output: OutputOptions) -> None:
    """NumPy archives of flat arrays with the D4RL names.

    Expected are observations (or observations/KEY), actions, rewards and terminals; timeouts, next_observations and
    anything else of that length are kept. A directory stands for the .npz files in it. Several files become one buffer.
    """
    from rlbuffers.sources.files import files_in
    from rlbuffers.sources.npz import NpzSource

    target = output.path(Path("npz") / paths[0].stem)
    sources = [NpzSource(path) for path in files_in(paths, (".npz",))]
    run_conversion(sources, target, output, title=paths[0].name)
