"""`rlbuffers card BUFFER`: the data card of a buffer."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["card"]


@click.command()
@click.argument("buffer", metavar="BUFFER")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file.")
@click.option("--name", help="Title of the card.  [default: task and file name]")
def card(buffer: str, output: Path | None, name: str | None) -> None:
    """Print BUFFER's data card: Markdown with Hugging Face front matter."""
    import rlbuffers
    from rlbuffers.atomic import write_bytes_atomically
    from rlbuffers.card import render_card
    from rlbuffers_cli.console import console

    with rlbuffers.open(buffer) as opened:
        title = name or f"{opened.metadata.get('environment', {}).get('id', '')} {opened.path.stem}".strip()
        text = render_card(opened.metadata, title)
    if output is None:
        console.print(text, soft_wrap=True, end="")
    else:
        write_bytes_atomically(output, text.encode())
        console.print(f"wrote {output}", soft_wrap=True)
