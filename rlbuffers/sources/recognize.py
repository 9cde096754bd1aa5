"""What a file or directory seems to be, by its first bytes and the names in it; for hints, and for nothing else."""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py

from rlbuffers.decoding.zip_directory import require_few_members
from rlbuffers.hdf5_links import leads_inside
from rlbuffers.local_inputs import refuse_special, require_inside
from rlbuffers.sources.hdf5_files import opened_hdf5
from rlbuffers.sources.ogbench_names import find_ogbench

__all__ = ["BUFFER", "recognized"]

BUFFER = "rlbuffers"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_IMITATION = {"obs", "acts", "terminal", "indices"}
_EXORL = {"action", "reward", "discount"}
_STABLE_BASELINES = {"obs", "actions", "episode_starts", "episode_returns"}
_OGBENCH = {"observations", "actions", "terminals", "qpos", "qvel"}
_PARQUET = b"PAR1"
_ROWS_SUFFIXES = (".json", ".jsonl", ".parquet")
_LOOKED_AT = 1 << 16
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
    except (OSError, RuntimeError, KeyError, ValueError, zipfile.BadZipFile):  # unreadable or damaged, so like nothing
        return None


def _of_directory(path: Path) -> str | None:
    signs: list[tuple[str, Callable[[], bool]]] = [
        (BUFFER, lambda: (path / "zarr.json").exists()),
        ("diffusion-policy", lambda: (path / "meta" / "episode_ends" / ".zarray").exists()),
        ("minari", lambda: (path / "data" / "metadata.json").exists() or (path / "main_data.hdf5").exists()),
        ("lerobot", lambda: (path / "meta" / "info.json").exists()),
        ("tfds", lambda: (path / "features.json").exists()),
        ("reverb", lambda: any(True for _ in path.glob("**/tables.tfrecord"))),
        ("exorl", lambda: any(_of_zip(file) == "exorl" for file in itertools.islice(_archives(path), 1))),
        ("dopamine", lambda: any(True for _ in path.glob("**/$store$_*.gz"))),
        ("rllib", lambda: any(_of_file(file) == "rllib" for file in itertools.islice(_rows_files(path), 1))),
    ]
    return next((name for name, holds in signs if holds()), None)


def _rows_files(path: Path) -> Iterator[Path]:
    rows = (file for file in path.rglob("*") if file.suffix in _ROWS_SUFFIXES and file.is_file())
    return (require_inside(path, file) for file in rows)


def _archives(path: Path) -> Iterator[Path]:
    return (require_inside(path, file) for file in path.glob("*.npz"))


def _of_file(path: Path) -> str | None:
    with refuse_special(path).open("rb") as file:
        first = file.read(len(_HDF5))
    if first == _HDF5:
        return _of_hdf5(path)
    if first.startswith(_GZIP):
        return "dopamine" if path.name.startswith("$store$_") else "rl-unplugged"
    if first.startswith(_PARQUET):
        return "rllib" if b"eps_id" in _end_of(path) else None
    if first.lstrip().startswith(b"{"):
        return "rllib" if _has_steps(path) else None
    return _of_zip(path) if first.startswith(_ZIP) else None


def _of_zip(path: Path) -> str:
    """Tell archives of several libraries apart, by the names of their arrays and the file's own."""
    with zipfile.ZipFile(require_few_members(path)) as archive:
        names = {name.removesuffix(".npy") for name in archive.namelist()}
    if names >= _IMITATION:
        return "imitation"
    if names >= _EXORL and names & {"observation", "image"}:
        return "exorl"
    if names >= _STABLE_BASELINES:
        return "stable-baselines"
    is_raw = names >= _OGBENCH and not names & {"rewards", "next_observations"}
    return "ogbench" if is_raw or (find_ogbench(path) and "observations" in names) else "npz"


def _end_of(path: Path) -> bytes:
    """Return the last part of a Parquet file, which names its columns."""
    with refuse_special(path).open("rb") as file:
        file.seek(max(path.stat().st_size - _LOOKED_AT, 0))
        return file.read()


def _has_steps(path: Path) -> bool:
    """Whether the first line of JSON begins as a batch of steps or as a step does."""
    with refuse_special(path).open("rb") as file:
        line = file.readline(_LOOKED_AT)
    return b'"SampleBatch"' in line or b'"MultiAgentBatch"' in line or (b'"obs"' in line and b'"rewards"' in line)


def _of_hdf5(path: Path) -> str | None:
    with opened_hdf5(path, or_buffer=True) as file:
        names = set(file)
        if BUFFER in file.attrs:
            return BUFFER
        has_data = leads_inside(file, "data") and isinstance(file["data"], h5py.Group)
        if has_data and any(name.startswith("demo_") for name in file["data"]):
            return "robomimic"
    if "_meta" in names:
        return "tianshou"
    if "num_episodes" in names or {"discrete_action", "observations"} <= names:
        return "d3rlpy"
    if "episode_0" in names:
        return "minari"
    return "d4rl" if names >= _D4RL else None
