"""`rlbuffers convert dopamine`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from rlbuffers_cli.conversions import OutputOptions, output_options, run_conversion

__all__ = ["command"]


@click.command("dopamine")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--checkpoint",
    "checkpoints",
    type=click.IntRange(min=0),
    multiple=True,
    show_default="all",
    help="Number N of the files ..._ckpt.N.gz; may be repeated.",
)
@click.option("--game", show_default="from DIR", help="Name of the game, which tells the number of actions.")
@click.option("--stack", type=click.IntRange(min=1), default=4, show_default=True, help="Frames in an observation.")
@click.option(
    "--step-limit",
    type=click.IntRange(min=1),
    default=27_000,
    show_default=True,
    help="Steps after which episodes were cut.",
)
@output_options
def command(
    folder: Path,
    checkpoints: tuple[int, ...],
    game: str | None,
    stack: int,
    step_limit: int,
    output: OutputOptions,
) -> None:
    """Dopamine replay logs, such as DQN Replay.

    DIR is the folder replay_logs of a run, or the run's. Its checkpoints become one buffer, in order. Rows that a
    checkpoint repeats of the one before are taken once, and episodes that go on from one to the next are whole.
    """
    from rlbuffers.sources.dopamine.logs import DopamineSource

    source = DopamineSource(folder, list(checkpoints) or None, stack=stack, game=game, step_limit=step_limit)
    parts = [part for part in (source.game, source.run_id) if part is not None]
    first, last = source.checkpoints[0].number, source.checkpoints[-1].number
    name = f"ckpt.{first}" if first == last else f"ckpt.{first}-{last}"
    target = output.path(Path("dopamine").joinpath(*map(str, parts), name))
    # There is nothing to decode, and sending gigabytes of frames to another process and back would only cost memory.
    run_conversion([source], target, replace(output, workers=0), title=source.game or folder.name)
