"""`rlbuffers convert diffusion-policy`."""

from __future__ import annotations

from pathlib import Path

import click

from rlbuffers_cli.conversions import OutputOptions, files_argument, output_options, run_conversion

__all__ = ["command"]


@click.command("diffusion-policy")
@files_argument("ZARR...")
@click.option(
    "--observation",
    "observations",
    multiple=True,
    show_default="all but actions, rewards, timestamp and stage",
    help="Array in data that is an observation; may be repeated.",
)
@output_options
def command(paths: tuple[Path, ...], observations: tuple[str, ...], output: OutputOptions) -> None:
    """Replay buffers of Diffusion Policy: demonstrations in a Zarr group, such as pusht.zarr.

    A directory or a ZIP file with data/* and meta/episode_ends. Several become one buffer. Where there are no rewards,
    zeros stand in their place.
    """
    from rlbuffers.sources.diffusion_policy import DiffusionPolicySource

    target = output.path(Path("diffusion-policy") / paths[0].stem.removesuffix(".zarr"))
    sources = [DiffusionPolicySource(path, observations) for path in paths]
    run_conversion(sources, target, output, title=paths[0].name)
