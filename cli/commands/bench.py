"""`rlbuffers bench BUFFER`: how fast this file is read on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rlbuffers.inspecting.read_speed import ReadSpeed, Spread

__all__ = ["bench"]


@click.command()
@click.argument("buffer", metavar="BUFFER")
@click.option(
    "--batch-size", type=click.IntRange(min=1), help="Transitions in a batch.  [default: 32 of images, 256 of vectors]"
)
@click.option("--cache", default="1GiB", show_default=True, help="Budget of memory, as rlbuffers.open takes it.")
@click.option("--seconds", type=float, default=5.0, show_default=True, help="Time to spend.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the random rows.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench(buffer: str, batch_size: int | None, cache: str, seconds: float, seed: int, as_json: bool) -> None:
    """Measure how fast BUFFER is read on this machine.

    Opening, random batches, and everything in order; and what training on it costs in RAM.
    """
    from rlbuffers.inspecting.read_speed import measure_read_speed
    from rlbuffers_cli.console import console, print_json

    if as_json:
        found = measure_read_speed(buffer, batch_size=batch_size, cache=cache, seconds=seconds, seed=seed)
        print_json(found.to_json())
        return
    with console.status("Measuring …") as status:
        found = measure_read_speed(
            buffer,
            batch_size=batch_size,
            cache=cache,
            seconds=seconds,
            seed=seed,
            on_step=lambda step: status.update(f"Measuring {step} …"),
        )
    _print(buffer, found)


def _print(path: str, found: ReadSpeed) -> None:
    from rlbuffers_cli.console import console, facts_table, rows_table, size_text

    warm, batch = found.warm_transitions_per_second, found.batch_size
    rows = [["open", *_milliseconds(found.open_seconds)]]
    if found.cold_batch_seconds is not None:
        rows.append([f"first batch of {batch}, uncached", *_milliseconds(found.cold_batch_seconds)])
    rows += [
        [f"batches of {batch}, warm", *_rates(warm)],
        ["the same through a loader", *_rates(found.loader_transitions_per_second)],
        ["in order, decoded", *_bytes_rates(found.scan_bytes_per_second)],
        ["in order, on disk", *_bytes_rates(found.scan_disk_bytes_per_second)],
    ]
    # A table's title would be folded at the table's width.
    console.print(f"{path}: {found.transitions:,} transitions", soft_wrap=True, markup=False, highlight=False)
    console.print(rows_table("", ["", "median", "lowest", "highest", "rounds"], rows))
    console.print()
    sizes = found.sizes
    facts = {
        "to train from the file": size_text(sizes.resident_bytes),
        "all columns decoded, frames once": size_text(sizes.decoded_bytes),
        "every stack stored apart": size_text(sizes.stacked_bytes),
    }
    console.print(facts_table("RAM", facts))
    if found.scanned_share < 1:
        console.print(f"{found.scanned_share:.0%} of the buffer was read in order; --seconds gives more time")


def _milliseconds(spread: Spread) -> list[str | int]:
    return [*(f"{value * 1e3:,.2f} ms" for value in (spread.median, spread.low, spread.high)), spread.rounds]


def _rates(spread: Spread) -> list[str | int]:
    return [*(f"{value:,.0f}/s" for value in (spread.median, spread.low, spread.high)), spread.rounds]


def _bytes_rates(spread: Spread) -> list[str | int]:
    from rlbuffers_cli.console import size_text

    return [*(f"{size_text(value)}/s" for value in (spread.median, spread.low, spread.high)), spread.rounds]
