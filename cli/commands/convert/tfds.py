"""`rlbuffers convert tfds`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from rlbuffers_cli.conversions import OutputOptions, output_options, run_conversion

if TYPE_CHECKING:
    from rlbuffers.sources.tfds.endings import LastRow

__all__ = ["command"]


@click.command("tfds")
@click.argument("dataset", metavar="[NAME[/CONFIG][:VERSION]]", required=False)
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="A prepared dataset's directory instead.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    show_default="$TFDS_DATA_DIR or ~/tensorflow_datasets",
    help="Where prepared datasets are, and come to be.",
)
@click.option("--split", help="Name of a split, or all.  [default: the only one, or train]")
@click.option(
    "--last-row",
    type=click.Choice(["auto", "observation", "transition"]),
    default="auto",
    show_default=True,
    help="What the last row of an episode is: the final observation only, as RLDS says, or a transition.",
)
@click.option(
    "--action",
    "actions",
    metavar="FIELD",
    multiple=True,
    help="The field of a dict of actions that becomes the actions; several are concatenated in the order given.",
)
@click.option(
    "--reward",
    type=click.Choice(["none"]),
    help="Read a dataset that has no rewards: zeros are stored, with a warning.",
)
@output_options
def command(
    dataset: str | None,
    directory: Path | None,
    data_dir: Path | None,
    split: str | None,
    last_row: LastRow,
    actions: tuple[str, ...],
    reward: Literal["none"] | None,
    output: OutputOptions,
) -> None:
    """RLDS datasets of TensorFlow Datasets, such as d4rl_mujoco_halfcheetah/v2-medium.

    A dataset that is prepared already (as TFRecord files) is read without TensorFlow; one that is not is first
    downloaded and prepared by tensorflow-datasets.
    """
    from rlbuffers.errors import UsageError
    from rlbuffers.sources.tfds.directory import default_data_dir, find_version_dir, prepared_dir, read_info
    from rlbuffers.sources.tfds.rlds import RLDSSource

    if (dataset is None) == (directory is None):
        raise UsageError("name a dataset, such as d4rl_mujoco_halfcheetah/v2-medium, or give a prepared one with --dir")
    if directory is not None:
        found = find_version_dir(directory.expanduser())
    else:
        root = data_dir.expanduser() if data_dir is not None else default_data_dir()
        found = prepared_dir(str(dataset), root)
    info = read_info(found)
    default = Path(info.name) / "-".join([*([info.config] if info.config else []), info.version])
    target = output.path(default)
    source = RLDSSource(found, split=split, last_row=last_row, action=actions, reward=reward)
    run_conversion([source], target, output, title=info.name)
