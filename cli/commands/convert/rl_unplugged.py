"""`rlbuffers convert rl-unplugged`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlbuffers.paths import DEFAULT_DATASET_DIR
from rlbuffers.published.rl_unplugged import SUITES, Request, find_shards
from rlbuffers_cli.conversions import OutputOptions, output_options, run_conversion
from rlbuffers_cli.downloads import downloads_to

if TYPE_CHECKING:
    from rlbuffers.sources.base import Source

__all__ = ["command"]


@click.command("rl-unplugged")
@click.option("--task", required=True, metavar="TASK", help="Name of the game or task, such as Breakout.")
@click.option("--suite", type=click.Choice(list(SUITES)), default="atari", show_default=True, help="Part of the data.")
@click.option(
    "--layout",
    type=click.Choice(["transitions", "episodes"]),
    show_default="what the suite has, transitions first",
    help="Shuffled pieces, or whole episodes in order.",
)
@click.option(
    "--shard-id", "shard_ids", type=int, multiple=True, show_default="0", help="Number of the shard; may be repeated."
)
@click.option(
    "--file",
    "files",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Read this shard instead of one in DATASET_DIR; may be repeated.",
)
@click.option(
    "--dataset-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_DATASET_DIR,
    show_default=True,
    help="Where shards are, and are downloaded to.",
)
@click.option("--run-id", type=int, show_default="1", help="atari: training run, 1 to 5.")
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="transitions: convert only the first N of each shard."
)
@click.option("--stack", type=click.IntRange(min=1), show_default="4", help="atari episodes: frames in an observation.")
@click.option(
    "--last-row",
    type=click.Choice(["observation", "transition"]),
    show_default="observation",
    help="dmlab: what the last row of an episode is.",
)
@click.option("--challenge", type=click.Choice(["none", "easy"]), show_default="none", help="rwrl: the challenge.")
@click.option(
    "--difficulty",
    type=click.Choice(["1", "5", "20", "40", "100"]),
    show_default="100",
    help="rwrl: percentage of the data.",
)
@output_options
def command(
    suite: str,
    layout: str | None,
    shard_ids: tuple[int, ...],
    files: tuple[Path, ...],
    dataset_dir: Path,
    output: OutputOptions,
    **options: Any,
) -> None:
    """RL Unplugged: Atari, control suite, locomotion, RWRL, DM Lab and bsuite.

    Uses the shard in DATASET_DIR if it is there, and downloads it otherwise. Several shards become one buffer. DM Lab
    tasks are named with their run, as rooms_watermaze/training_0, and bsuite's with their noise, as catch/0_0.1.
    """
    from rlbuffers.errors import UsageError
    from rlbuffers.sources.files import require_file

    if shard_ids and files:
        raise UsageError("--file and --shard-id exclude each other: a file is one shard")
    shards = find_shards(suite, layout, Request(**options))
    numbers = shard_ids or (0,)
    names = [path.name for path in files] or [shards.name(number) for number in numbers]
    more = f"+{len(names) - 1}" if len(names) > 1 else ""
    target = output.path(shards.folder / f"{names[0]}{more}")
    downloads = downloads_to(dataset_dir)
    sources: list[Source[Any]] = (
        [shards.open(require_file(path), shards.stated) for path in files]
        if files
        else [shards.published(number, downloads) for number in numbers]
    )
    run_conversion(sources, target, output, title=shards.title)
