"""Where buffers are: paths and addresses, and where files are looked for when the user names no place."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from rlbuffers.errors import UsageError

__all__ = [
    "DEFAULT_BUFFER_DIR",
    "DEFAULT_DATASET_DIR",
    "DEFAULT_LOG_DIR",
    "Url",
    "generated_buffer_path",
    "located",
    "refuse_address",
]

DEFAULT_DATASET_DIR = Path("~/.rl_unplugged/datasets")
DEFAULT_BUFFER_DIR = Path("~/.rl_unplugged/buffers")
DEFAULT_LOG_DIR = Path("~/.rl_unplugged/runs")

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# A `Path` of an address has one of its slashes.
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_PLACES_OF_OURS = ("memory",)


class Url(str):
    """The address of a remote buffer, such as ``s3://bucket/x.zarr``; a `Path` would lose one of its slashes."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """The last part."""
        return self.rstrip("/").rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The ending of the last part, with its dot."""
        return PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        """The last part without its ending."""
        return PurePosixPath(self.name).stem

    def with_name(self, name: str) -> Path:
        """Return a path of that name in the working directory: beside an address nothing can be written."""
        return Path(name)

    def absolute(self) -> Url:
        """Return the address, which is always absolute."""
        return self

    def expanduser(self) -> Url:
        """Return the address, which has no ``~`` for a home."""
        return self


def refuse_address(path: str | Path) -> None:
    """Do nothing unless a path to write to is an address, such as ``s3://bucket/x.zarr``, whole or as a `Path` has it.

    Raises
    ------
    UsageError
        If it is one: nothing is written to servers.
    """
    text = str(path)
    found = _ADDRESS.match(text)
    if isinstance(path, Url) or _URL.match(text) or (found and found[1] not in _PLACES_OF_OURS):
        raise UsageError(f"{text}: is an address, and output is written to files; write a file and upload it")


def located(path: str | Path) -> Path | Url:
    """Tell addresses from paths; a ``file://`` address is a path."""
    text = str(path)
    if not isinstance(path, str) or not _URL.match(text):
        return Path(path)
    return Path(text.removeprefix("file://")) if text.startswith("file://") else Url(text)


def generated_buffer_path(
    task: str, policy: str, eps: float, level: str = "expert", buffer_dir: Path = DEFAULT_BUFFER_DIR
) -> Path:
    """Where `rlbuffers generate` writes, and `rlbuffers train` looks, when no path is given.

    Parameters
    ----------
    task : str
        Environment id.
    policy : str
        Name of the behavior policy's algorithm.
    eps : float
        Probability of a random action.
    level : str
        How well the policy is trained; an expert that is disturbed goes by the disturbance.
    buffer_dir : Path
        The folder that holds all buffers; ``~`` is expanded.
    """
    parts = [policy, *([level] if level != "expert" or eps == 0 else []), *([f"eps{eps:g}"] if eps else [])]
    return buffer_dir.expanduser() / task / f"{'-'.join(parts)}.hdf5"
