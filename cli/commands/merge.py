"""`rlbuffers merge A B ... -o NEW`: several buffers as one."""

from __future__ import annotations

from pathlib import Path

import click

from rlbuffers_cli.editing import print_reports, progress, result_options

__all__ = ["merge"]


@click.command()
@click.argument("buffers", metavar="BUFFER BUFFER...", nargs=-1, required=True)
@result_options
def merge(buffers: tuple[str, ...], output: Path, overwrite: bool, as_json: bool) -> None:
    """Write the rows of several buffers, in the order given, as one.

    They must have the same layout, stack and columns. The new buffer names its parents and which rows are theirs; what
    they say differently of environment, policy or license is kept for each.
    """
    import rlbuffers

    with progress("Merging", quiet=as_json) as on_progress:
        report = rlbuffers.merge(buffers, output, overwrite=overwrite, on_progress=on_progress)
    print_reports("Merged", [report], as_json=as_json)
