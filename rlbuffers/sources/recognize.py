"""What a file or directory seems to be, by its first bytes and the names in it; for hints, and for nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py

__all__ = ["BUFFER", "recognized"]

BUFFER = "rlbuffers"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_D4RL = {"observations", "actions", "rewards", "terminals"}


def recognized(path: Path) -> str | None:
    """Tell which source format a path looks to be of.

    Parameters
    ----------
    path : Path
        A file or a directory; nothing is unpacked.

    Returns
    -------
    str or None
        A key of `rlbuffers.sources.SOURCES`, `BUFFER` for a finished buffer, or None if it is like nothing known.
    """
    try:
        return _of_directory(path) if path.is_dir() else _of_file(path)
    except (OSError, RuntimeError, KeyError):  # unreadable or damaged, so like nothing
        return None


def _of_directory(path: Path) -> str | None:
    signs: list[tuple[str, Callable[[], bool]]] = [
        (BUFFER, lambda: (path / "zarr.json").exists()),
        ("minari", lambda: (path / "data" / "metadata.json").exists() or (path / "main_data.hdf5").exists()),
        ("lerobot", lambda: (path / "meta" / "info.json").exists()),
        ("tfds", lambda: (path / "features.json").exists()),
        ("reverb", lambda: any(True for _ in path.glob("**/tables.tfrecord"))),
        ("dopamine", lambda: any(True for _ in path.glob("**/$store$_*.gz"))),
    ]
    return next((name for name, holds in signs if holds()), None)


def _of_file(path: Path) -> str | None:
    with path.open("rb") as file:
        first = file.read(len(_HDF5))
    if first == _HDF5:
        return _of_hdf5(path)
    if first.startswith(_GZIP):
        return "dopamine" if path.name.startswith("$store$_") else "rl-unplugged"
    return "npz" if first.startswith(_ZIP) else None


def _of_hdf5(path: Path) -> str | None:
    with h5py.File(path, "r", locking=False) as file:
        names = set(file)
        if BUFFER in file.attrs:
            return BUFFER
        if isinstance(file.get("data"), h5py.Group) and any(name.startswith("demo_") for name in file["data"]):
            return "robomimic"
    if "_meta" in names:
        return "tianshou"
    if "num_episodes" in names or {"discrete_action", "observations"} <= names:
        return "d3rlpy"
    if "episode_0" in names:
        return "minari"
    return "d4rl" if names >= _D4RL else None
