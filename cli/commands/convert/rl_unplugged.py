"""`rlbuffers convert rl-unplugged`."""

from __future__ import annotations

from pathlib import Path

import click

from rlbuffers.paths import DEFAULT_DATASET_DIR
from rlbuffers_cli.conversions import output_options, output_path, run_conversion
from rlbuffers_cli.downloads import download_unless_there

__all__ = ["command"]


@click.command("rl-unplugged")
@click.option("--task", required=True, metavar="GAME", help="Name of the game, such as Breakout.")
@click.option("--run-id", type=int, default=1, show_default=True, help="Training run, 1 to 5.")
@click.option("--shard-id", type=int, default=0, show_default=True, help="Shard of the run, 0 to 99.")
@click.option(
    "--dataset-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_DATASET_DIR,
    show_default=True,
    help="Where shards are, and are downloaded to.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Convert only the first N transitions.")
@output_options
def command(
    task: str,
    run_id: int,
    shard_id: int,
    dataset_dir: Path,
    limit: int | None,
    output: Path | None,
    buffer_dir: Path,
    format_name: str | None,
    overwrite: bool,
    workers: int,
) -> None:
    """RL Unplugged Atari: shuffled transitions of stacked frames.

    Uses the shard in DATASET_DIR/GAME if it is there, and downloads it otherwise.
    """
    from rlbuffers.sources.rlu_atari_tfrecord import RLUAtariSource
    from rlbuffers.sources.rlu_games import check_game, shard_name, shard_url

    game, name, url = check_game(task), shard_name(run_id, shard_id), shard_url(task, run_id, shard_id)
    target = output_path(Path(game) / name, output, buffer_dir, format_name, overwrite=overwrite)
    shard = dataset_dir.expanduser() / game / name
    download_unless_there(url, shard)
    facts = {"dataset": "rl_unplugged/atari", "run_id": run_id, "shard_id": shard_id, "published_at": url}
    source = RLUAtariSource(shard, game, facts=facts, limit=limit)
    run_conversion([source], target, overwrite=overwrite, workers=workers, title=game)
