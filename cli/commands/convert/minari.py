"""`rlbuffers convert minari`."""

from __future__ import annotations

from pathlib import Path

import click

from rlbuffers_cli.conversions import OutputOptions, output_options, run_conversion

__all__ = ["command"]


@click.command("minari")
@click.argument("datasets", metavar="ID_OR_DIR...", nargs=-1, required=True)
@output_options
def command(datasets: tuple[str, ...], output: OutputOptions) -> None:
    """Minari datasets, HDF5 or Arrow.

    An id such as D4RL/pen/human-v2 is looked for where Minari keeps datasets ($MINARI_DATASETS_PATH or
    ~/.minari/datasets) and downloaded by the minari package if it is not there. Several datasets become one buffer.
    """
    from rlbuffers.sources.minari.dataset import MinariSource
    from rlbuffers.sources.minari.places import dataset_folder, dataset_name

    default = Path("minari") / dataset_name(datasets[0])
    target = output.path(default)
    sources = [MinariSource(dataset_folder(name)) for name in datasets]
    run_conversion(sources, target, output, title=default.name)
