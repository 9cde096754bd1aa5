"""`rlbuffers card BUFFER`: the data card of a buffer, for people or for machines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rlbuffers_cli.option_types import OutputPath

if TYPE_CHECKING:
    from rlbuffers.reader import Buffer

__all__ = ["card", "default_title"]


@click.command()
@click.argument("buffer", metavar="BUFFER")
@click.option("-o", "--output", type=OutputPath(dir_okay=False), help="Write to a file.")
@click.option("--name", help="Title of the card.  [default: task and file name]")
@click.option("--croissant", is_flag=True, help="Write Croissant JSON-LD instead of Markdown.")
@click.option("--url", help="With --croissant: address of the folder in which BUFFER is published.")
def card(buffer: str, output: Path | None, name: str | None, croissant: bool, url: str | None) -> None:
    """Print BUFFER's data card: Markdown with Hugging Face front matter, or Croissant JSON-LD."""
    import rlbuffers
    from rlbuffers.atomic import write_bytes_atomically
    from rlbuffers.cards.buffer_card import render_card
    from rlbuffers.cards.croissant import render_croissant
    from rlbuffers_cli.console import console

    if url is not None and not croissant:
        raise click.UsageError("--url is a part of --croissant; add that option or leave this one out")
    with rlbuffers.open(buffer) as opened:
        title = name or default_title(opened)
        if croissant:
            text = render_croissant(opened, title, url=url)
        else:
            text = render_card(opened.metadata, title, file=opened.path.name)
    if output is None:
        console.print(text, soft_wrap=True, end="")
    else:
        write_bytes_atomically(output, text.encode())
        console.print(f"wrote {output}", soft_wrap=True)


def default_title(buffer: Buffer) -> str:
    """Return the environment and the name of the file."""
    environment = (buffer.metadata.get("environment") or {}).get("id") or ""
    return f"{environment} {buffer.path.stem}".strip()
