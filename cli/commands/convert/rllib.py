"""`rlbuffers convert rllib`."""

from __future__ import annotations

from pathlib import Path

import click

from rlbuffers_cli.conversions import OutputOptions, files_argument, output_options, run_conversion

__all__ = ["command"]


@click.command("rllib")
@files_argument("FILE_OR_DIR...")
@click.option("--policy", help="The policy to take, where batches hold steps of several.")
@output_options
def command(paths: tuple[Path, ...], policy: str | None, output: OutputOptions) -> None:
    """RLlib's offline data: JSON lines or Parquet files that its workers wrote.

    A row is a step or a batch of steps. A directory stands for the .json, .jsonl and .parquet files in and below it.
    All files become one buffer; an episode may go on from file to file. Parquet and packed columns need pyarrow.
    """
    from rlbuffers.sources.rllib.dataset import RLlibSource

    target = output.path(Path("rllib") / paths[0].stem)
    run_conversion([RLlibSource(paths, policy)], target, output, title=paths[0].name)
