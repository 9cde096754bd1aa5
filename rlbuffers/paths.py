"""Where files are looked for when the user names no place."""

from __future__ import annotations

from pathlib import Path

__all__ = ["DEFAULT_BUFFER_DIR", "DEFAULT_DATASET_DIR", "DEFAULT_LOG_DIR", "generated_buffer_path"]

DEFAULT_DATASET_DIR = Path("~/.rl_unplugged/datasets")
DEFAULT_BUFFER_DIR = Path("~/.rl_unplugged/buffers")
DEFAULT_LOG_DIR = Path("~/.rl_unplugged/runs")


def generated_buffer_path(task: str, policy: str, eps: float, buffer_dir: Path = DEFAULT_BUFFER_DIR) -> Path:
    """Where `rlbuffers generate` writes, and `rlbuffers train` looks, when no path is given.

    Parameters
    ----------
    task : str
        Environment id.
    policy : str
        Name of the behavior policy's algorithm.
    eps : float
        Probability of a random action.
    buffer_dir : Path
        The folder that holds all buffers; ``~`` is expanded.
    """
    return buffer_dir.expanduser() / task / f"{policy}-eps{eps:g}.hdf5"
