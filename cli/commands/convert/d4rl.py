"""`rlbuffers convert d4rl`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlbuffers.paths import DEFAULT_DATASET_DIR
from rlbuffers_cli.conversions import (
    OutputOptions,
    map_option,
    names_of_pairs,
    output_options,
    run_conversion,
    terminals_option,
)
from rlbuffers_cli.downloads import downloads_to

if TYPE_CHECKING:
    from rlbuffers.sources.base import Source
    from rlbuffers.sources.flat_source import TerminalMeaning

__all__ = ["command"]


@click.command("d4rl")
@click.argument("dataset_id", metavar="[DATASET]", required=False)
@click.option(
    "--file",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="An HDF5 file, or a directory of them; may be given several times. DATASET then says what they are.",
)
@click.option(
    "--view",
    type=click.Choice(["episodes", "qlearning"]),
    default="episodes",
    show_default=True,
    help="Everything as episodes, or the transitions that D4RL's qlearning_dataset gives.",
)
@click.option(
    "--dataset-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_DATASET_DIR / "d4rl",
    show_default=True,
    help="Where files are, and are downloaded to.",
)
@map_option("my_r=rewards")
@terminals_option
@output_options
def command(
    dataset_id: str | None,
    files: tuple[Path, ...],
    view: str,
    pairs: tuple[str, ...],
    terminals: TerminalMeaning | None,
    dataset_dir: Path,
    output: OutputOptions,
) -> None:
    """D4RL's HDF5 files: gym, AntMaze, Maze2D, Adroit, kitchen and the others.

    DATASET is an id such as halfcheetah-medium-v2. Its file is used if it is in --dataset-dir or where D4RL itself
    keeps it ($D4RL_DATASET_DIR or ~/.d4rl/datasets), and downloaded otherwise. Without DATASET, a file that has the
    name of a published one or is named by an id is known by its name. Files of other flat arrays are read, too: usual
    names (obs, next_obs, rew, done, terminated, ...) are understood, others are named with --map.
    """
    from rlbuffers.errors import UsageError
    from rlbuffers.published.d4rl import file_of
    from rlbuffers.sources.d4rl.datasets import dataset_of_file, find_dataset
    from rlbuffers.sources.d4rl.hdf5 import D4RLSource
    from rlbuffers.sources.d4rl.qlearning import D4RLQLearningSource
    from rlbuffers.sources.files import files_in

    if dataset_id is None and not files:
        raise UsageError("name a dataset of D4RL, such as halfcheetah-medium-v2, or files by --file")
    if terminals is not None and view != "episodes":
        raise UsageError("--terminals requires --view episodes: D4RL's qlearning_dataset has rules of its own")
    dataset = find_dataset(dataset_id) if dataset_id is not None else None
    title = dataset.id if dataset else files[0].stem
    name = title if view == "episodes" else f"{title}-{view}"
    target = output.path(Path("d4rl") / name)
    if dataset is not None and not files:
        files = (file_of(dataset, downloads_to(dataset_dir)),)
    found, names = files_in(files, (".hdf5", ".h5")), names_of_pairs(pairs)
    by_name = dataset is None
    known = [(path, dataset or dataset_of_file(path.name)) for path in found]
    sources: list[Source[Any]] = (
        [D4RLSource(path, one, names, by_name=by_name, terminals=terminals) for path, one in known]
        if view == "episodes"
        else [D4RLQLearningSource(path, one, names, by_name=by_name) for path, one in known]
    )
    # The rows are finished as they are read: sending them to other processes and back only costs time.
    run_conversion(sources, target, output, title=title)
