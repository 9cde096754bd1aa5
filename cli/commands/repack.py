"""`rlbuffers repack BUFFER -o NEW`: the same content in another container, compression or chunks."""

from __future__ import annotations

from pathlib import Path

import click

from rlbuffers_cli.editing import print_reports, progress, result_options

__all__ = ["repack"]


@click.command()
@click.argument("buffer", metavar="BUFFER")
@click.option(
    "--level", type=int, help="Compression: 0 to 3 for .hdf5, 1 to 22 for .zarr.  [default: 1; images: others]"
)
@click.option("--chunk-rows", type=int, help="Rows a chunk of all but frames: 1, 2, 4 ... 128 or a multiple of 256.")
@click.option("--frames-per-chunk", type=int, help="Frames a chunk, in buffers of episodes.  [default: 12]")
@result_options
def repack(
    buffer: str,
    level: int | None,
    chunk_rows: int | None,
    frames_per_chunk: int | None,
    output: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write BUFFER's content once more, stored in another way; its fingerprint stays the same.

    The name of the new buffer tells the container.
    """
    import rlbuffers

    storage = rlbuffers.StorageOptions(level, chunk_rows, frames_per_chunk)
    with progress("Repacking", quiet=as_json) as on_progress:
        report = rlbuffers.repack(buffer, output, storage=storage, overwrite=overwrite, on_progress=on_progress)
    print_reports("Repacked", [report], as_json=as_json)
