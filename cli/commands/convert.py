"""`rlbuffers convert SOURCE`: turn published data into a buffer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rlbuffers.paths import DEFAULT_BUFFER_DIR, DEFAULT_DATASET_DIR

if TYPE_CHECKING:
    from rlbuffers.conversion import ConversionReport

__all__ = ["convert"]


@click.group()
def convert() -> None:
    """Convert a published dataset into a buffer."""


@convert.command("rl-unplugged")
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
@click.option(
    "--buffer-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_BUFFER_DIR,
    show_default=True,
    help="Where buffers are written.",
)
@click.option("--format", "format_name", type=click.Choice(["hdf5", "zarr"]), default="hdf5", show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace an existing buffer.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Convert only the first N transitions.")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=max((os.cpu_count() or 1) - 1, 0),
    show_default="CPU cores - 1",
    help="Processes that help this one.",
)
def rl_unplugged(
    task: str,
    run_id: int,
    shard_id: int,
    dataset_dir: Path,
    buffer_dir: Path,
    format_name: str,
    overwrite: bool,
    limit: int | None,
    workers: int,
) -> None:
    """RL Unplugged Atari: shuffled transitions of stacked frames.

    Uses the shard in DATASET_DIR/GAME if it is there, and downloads it otherwise.
    """
    from rlbuffers.conversion import convert as run_conversion
    from rlbuffers.errors import BufferExistsError
    from rlbuffers.sources.rlu_atari_tfrecord import RLUAtariSource
    from rlbuffers.sources.rlu_games import check_game, shard_name, shard_url
    from rlbuffers_cli.console import progress_bar

    game, name, url = check_game(task), shard_name(run_id, shard_id), shard_url(task, run_id, shard_id)
    output = buffer_dir.expanduser() / game / f"{name}.{format_name}"
    if output.exists() and not overwrite:  # before a long download
        raise BufferExistsError(f"{output}: exists already; pass --overwrite to replace it")
    shard = dataset_dir.expanduser() / game / name
    if not shard.exists():
        _download(url, shard)
    facts = {"dataset": "rl_unplugged/atari", "run_id": run_id, "shard_id": shard_id, "published_at": url}
    source = RLUAtariSource(shard, game, facts=facts, limit=limit)
    with progress_bar() as progress:
        bar = progress.add_task(f"Converting {game}", total=source.total)
        report = run_conversion(
            source,
            output,
            overwrite=overwrite,
            workers=workers,
            on_progress=lambda done, total, count: progress.update(bar, completed=done, total=total, count=count),
        )
        progress.update(bar, completed=source.total)
    _print_report(report)


def _download(url: str, path: Path) -> None:
    from rlbuffers.download import download
    from rlbuffers_cli.console import progress_bar

    with progress_bar() as progress:
        progress.console.print(f"{url} -> {path}", soft_wrap=True)
        bar = progress.add_task("Downloading", total=None)
        download(url, path, lambda done, total: progress.update(bar, completed=done, total=total, count=done))


def _print_report(report: ConversionReport) -> None:
    from rlbuffers_cli.console import console, facts_table, size_text, warn

    ratio = f" ({report.buffer_bytes / report.source_bytes:.0%} of the source)" if report.source_bytes else ""
    facts = {
        "buffer": report.path,
        "transitions": f"{report.transitions:,}",
        "sum of rewards": f"{report.reward_sum:,.6g}, in the source and in the buffer",
        "size": f"{size_text(report.buffer_bytes)}{ratio}",
        "time": f"{report.seconds:.1f} s, {report.transitions / report.seconds:,.0f} transitions/s",
        "fingerprint": report.fingerprint,
        **{name.replace("_", " "): _shown(value) for name, value in report.measurements.items()},
        **{f"left out {number}": text for number, text in enumerate(report.left_out, 1)},
    }
    console.print(facts_table("Converted", facts))
    for warning in report.warnings:
        warn(warning)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_shown(count)}" for name, count in value.items())
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
