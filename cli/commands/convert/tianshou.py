"""`rlbuffers convert tianshou`."""

from __future__ import annotations

from pathlib import Path

import click

from rlbuffers_cli.conversions import files_argument, output_options, output_path, run_conversion

__all__ = ["command"]

_SUFFIXES = (".hdf5", ".h5")


@click.command("tianshou")
@files_argument("FILE_OR_DIR...")
@output_options
def command(
    paths: tuple[Path, ...],
    output: Path | None,
    buffer_dir: Path,
    format_name: str | None,
    overwrite: bool,
    workers: int,
) -> None:
    """Replay buffers that Tianshou saved: `buffer.save_hdf5("x.hdf5")`.

    ReplayBuffer, VectorReplayBuffer and their prioritized and cached kin, of Tianshou 0.3 to 2. A directory stands for
    the .hdf5 and .h5 files in it. Several files become one buffer. Pickles are refused.
    """
    from rlbuffers.sources.tianshou.hdf5 import TianshouSource

    target = output_path(Path("tianshou") / paths[0].stem, output, buffer_dir, format_name, overwrite=overwrite)
    files = [file for path in paths for file in _files_of(path)]
    run_conversion(
        [TianshouSource(file) for file in files], target, overwrite=overwrite, workers=workers, title=paths[0].name
    )


def _files_of(path: Path) -> list[Path]:
    from rlbuffers.errors import BufferNotFoundError
    from rlbuffers.sources.files import in_natural_order

    if not path.is_dir():
        return [path]
    found = in_natural_order(file for file in path.iterdir() if file.suffix in _SUFFIXES and file.is_file())
    if not found:
        raise BufferNotFoundError(f"{path}: there are no {' or '.join(_SUFFIXES)} files in this directory")
    return found
