"""Where Minari keeps datasets, and how one is found there."""

from __future__ import annotations

import os
import re
from pathlib import Path

from rlbuffers.errors import BufferNotFoundError
from rlbuffers.optional import require

__all__ = ["HDF5_FILE", "METADATA_FILE", "dataset_folder", "dataset_name", "datasets_root", "is_dataset_id"]

HDF5_FILE = "main_data.hdf5"
METADATA_FILE = "metadata.json"
# Minari's own pattern: a namespace has at least two characters, and a version is needed.
_DATASET_ID = re.compile(r"(?![-\w]/[^/]+$)(?:[-\w]+/)*[-\w]+-v\d+")


def is_dataset_id(name: str) -> bool:
    """Whether Minari would take `name` as a dataset's id, such as ``D4RL/pen/human-v2``."""
    return _DATASET_ID.fullmatch(name) is not None


def datasets_root() -> Path:
    """Return where Minari keeps datasets: ``$MINARI_DATASETS_PATH`` or ``~/.minari/datasets``."""
    return Path(os.environ.get("MINARI_DATASETS_PATH") or "~/.minari/datasets").expanduser()


def dataset_name(name: str) -> Path:
    """Return what a dataset's buffer is called: its id, or the last part of its path."""
    path = Path(name).expanduser()
    if is_dataset_id(name) and not path.exists():
        return Path(name)
    path = path.resolve()
    return Path(path.parent.name if path.name == "data" else path.name)


def dataset_folder(name: str) -> Path:
    """Find the ``data`` folder of a dataset by path or by id; download it if it is an id and not there.

    Raises
    ------
    BufferNotFoundError
        If there is nothing of that name and it is no id, or it cannot be downloaded.
    MissingDependencyError
        If it must be downloaded, and the minari package is not installed.
    """
    found = _existing(name)
    if found is not None:
        return found
    if not is_dataset_id(name) or Path(name).exists():
        raise BufferNotFoundError(
            f"{name}: expected the folder of a Minari dataset (with data/{METADATA_FILE}), or an id such as "
            "D4RL/pen/human-v2"
        )
    minari = require("minari", extra=None, purpose=f"Downloading {name}, which is not in {datasets_root()},")
    try:
        minari.download_dataset(name)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise BufferNotFoundError(f"{name}: minari cannot download it ({reason})") from error
    found = _existing(name)
    if found is None:
        raise BufferNotFoundError(f"{name}: minari has downloaded it, but not to {datasets_root() / name}")
    return found


def _existing(name: str) -> Path | None:
    for folder in (Path(name).expanduser(), datasets_root() / name):
        for candidate in (folder / "data", folder):
            if (candidate / METADATA_FILE).is_file() or (candidate / HDF5_FILE).is_file():
                return candidate
    return None
