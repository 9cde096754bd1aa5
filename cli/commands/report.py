"""`rlbuffers report BUFFER`: one page of HTML to look at."""

from __future__ import annotations

from pathlib import Path

import click

from rlbuffers_cli.option_types import OutputPath

__all__ = ["report"]

# Columns are read once, in blocks; only small ones are worth keeping.
_CACHE_BYTES = 32 << 20


@click.command()
@click.argument("buffer", metavar="BUFFER")
@click.option(
    "-o",
    "--output",
    type=OutputPath(dir_okay=False),
    help="The page; replaced if it is there.  [default: NAME.report.html here]",
)
@click.option(
    "--run",
    "runs",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Folder of a training run whose curves are shown; may be given several times.",
)
@click.option("--name", help="Title of the page.  [default: task and file name]")
@click.option("--frames-mb", type=click.FloatRange(min=0), default=7, show_default=True, help="Room for frames, in MB.")
def report(buffer: str, output: Path | None, runs: tuple[Path, ...], name: str | None, frames_mb: float) -> None:
    """Write a page about BUFFER: histograms, ranges, and episodes to play.

    The page is one file that loads nothing: send it, archive it, put it beside a paper.
    """
    import rlbuffers
    from rlbuffers.atomic import write_bytes_atomically
    from rlbuffers.report.page import render_report
    from rlbuffers_cli.commands.card import default_title
    from rlbuffers_cli.console import console, size_text

    with rlbuffers.open(buffer, cache=_CACHE_BYTES) as opened, console.status("Reading …") as status:
        target = output or Path(f"{opened.path.stem}.report.html")
        page = render_report(
            opened,
            name or default_title(opened),
            runs,
            max_frame_bytes=int(frames_mb * 1e6),
            on_step=lambda what: status.update(f"Reading {what} …"),
        ).encode()
    write_bytes_atomically(target, page)
    console.print(f"wrote {target} ({size_text(len(page))})", soft_wrap=True)
