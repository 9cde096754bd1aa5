"""Where files are looked for when the user names no place."""

from __future__ import annotations

from pathlib import Path

__all__ = ["DEFAULT_BUFFER_DIR", "DEFAULT_DATASET_DIR", "DEFAULT_LOG_DIR", "generated_buffer_path"]

DEFAULT_DATASET_DIR = Path("~/.rl_unplugged/datasets")
DEFAULT_BUFFER_DIR = Path("~/.rl_unplugged/buffers")
DEFAULT_LOG_DIR = Path("~/.rl_unplugged/runs")


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
