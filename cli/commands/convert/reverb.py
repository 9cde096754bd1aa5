"""`rlbuffers convert reverb`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlbuffers_cli.conversions import OutputOptions, map_option, names_of_pairs, output_options, run_conversion

if TYPE_CHECKING:
    from rlbuffers.sources.base import Source

__all__ = ["command"]


@click.command("reverb")
@click.argument("path", metavar="[CHECKPOINT]", required=False, type=click.Path(path_type=Path))
@click.option("--table", metavar="NAME", help="The table; needed if there are several.")
@map_option("o_t=observations")
@click.option("--server", metavar="HOST:PORT", help="Read from a running server instead, with dm-reverb.")
@output_options
def command(
    path: Path | None,
    table: str | None,
    pairs: tuple[str, ...],
    server: str | None,
    output: OutputOptions,
) -> None:
    """One table of a Reverb checkpoint, or of a running Reverb server.

    CHECKPOINT is the directory that `client.checkpoint()` returns, or the one above it: then the newest finished one
    is read. Neither Reverb nor TensorFlow is needed for it.

    Items that are one transition, or two consecutive steps, become independent transitions; items of more steps
    become an episode each. Columns whose names are not the usual ones are named with --map.

    A server can only be sampled: every item is drawn until all have been seen. A checkpoint is quicker and keeps the
    order of the items.
    """
    from rlbuffers.errors import UsageError

    if (path is None) == (server is None):
        raise UsageError("convert reverb: expected the directory of a checkpoint, or --server HOST:PORT")
    where = Path(server.replace(":", "_") if server else path.resolve().name.partition("T")[0] if path else "")
    default = Path("reverb") / where / (table or "table")
    target = output.path(default)
    source = _source(path, server, table, names_of_pairs(pairs))
    run_conversion([source], target, output, title=table or where.name)


def _source(path: Path | None, server: str | None, table: str | None, names: dict[str, str]) -> Source[Any]:
    from rlbuffers.sources.reverb.checkpoint import ReverbSource
    from rlbuffers.sources.reverb.server import ReverbServerSource

    return ReverbServerSource(server or "", table, names) if path is None else ReverbSource(path, table, names)
