"""D4RL's datasets by their ids."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlbuffers.published.downloads import Downloads
from rlbuffers.published.known import KnownDataset

if TYPE_CHECKING:
    from rlbuffers.sources.base import Source
    from rlbuffers.sources.d4rl.datasets import D4RLDataset

__all__ = ["FOLDER", "file_of", "known", "source"]

FOLDER = "d4rl"
_THEIR_CACHE = "~/.d4rl/datasets"


def known() -> Iterator[KnownDataset]:
    """Yield every dataset."""
    from rlbuffers.sources.d4rl.datasets import all_datasets

    for dataset in all_datasets().values():
        yield KnownDataset(dataset.id, 1, dataset.num_bytes, f"{dataset.family}, {dataset.level}")


def source(name: str, downloads: Downloads) -> Source[Any]:
    """Return what reads a dataset, as episodes."""
    from rlbuffers.sources.d4rl.datasets import find_dataset
    from rlbuffers.sources.d4rl.hdf5 import D4RLSource

    dataset = find_dataset(name)
    return D4RLSource(file_of(dataset, downloads, Path(FOLDER)), dataset)


def file_of(dataset: D4RLDataset, downloads: Downloads, below: Path = Path()) -> Path:
    """Return the file of a dataset: where D4RL itself keeps it, or in the folder of downloads.

    Parameters
    ----------
    dataset : D4RLDataset
        Which.
    downloads : Downloads
        Where to put it if it is nowhere.
    below : Path
        The place of D4RL's files in that folder.

    Raises
    ------
    DownloadError
        If it cannot be downloaded.
    """
    theirs = Path(os.environ.get("D4RL_DATASET_DIR") or _THEIR_CACHE).expanduser() / dataset.file_name
    place = below / dataset.path
    if theirs.exists() and not (downloads.folder.expanduser() / place).exists():
        return theirs
    # Sizes without a hash were recorded years ago: another upload is told of, not refused.
    num_bytes = dataset.num_bytes if dataset.sha256 else None
    return downloads.file(place, dataset.url, num_bytes=num_bytes, sha256=dataset.sha256)
