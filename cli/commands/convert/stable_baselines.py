"""`rlbuffers convert stable-baselines`."""

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


@click.command("stable-baselines")
@files_argument("FILE_OR_DIR...")
@map_option("my_obs=observations")
@output_options
def command(paths: tuple[Path, ...], pairs: tuple[str, ...], output: OutputOptions) -> None:
    """Expert data of Stable Baselines 2 (.npz), as generate_expert_traj writes them.

    They say where episodes start, not how they ended: no terminal is set. A directory stands for the .npz files in it.
    Several files become one buffer.
    """
    from rlbuffers.sources.files import files_in
    from rlbuffers.sources.stable_baselines import StableBaselinesSource

    names = names_of_pairs(pairs)
    target = output.path(Path("stable-baselines") / paths[0].stem)
    sources = [StableBaselinesSource(path, names) for path in files_in(paths, (".npz",))]
    run_conversion(sources, target, output, title=paths[0].name)
