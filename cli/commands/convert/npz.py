"""`rlbuffers convert npz`."""

from __future__ import annotations

from pathlib import Path

import click

from rlbuffers_cli.conversions import files_argument, output_options, output_path, run_conversion

__all__ = ["command"]


@click.command("npz")
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
    """NumPy archives of flat arrays with the D4RL names.

    Expected are observations (or observations/KEY), actions, rewards and terminals; timeouts, next_observations and
    anything else of that length are kept. A directory stands for the .npz files in it. Several files become one buffer.
    """
    from rlbuffers.sources.files import files_in
    from rlbuffers.sources.npz import NpzSource

    target = output_path(Path("npz") / paths[0].stem, output, buffer_dir, format_name, overwrite=overwrite)
    sources = [NpzSource(path) for path in files_in(paths, (".npz",))]
    run_conversion(sources, target, overwrite=overwrite, workers=workers, title=paths[0].name)
