"""The folder of one training run: its name, and what the files in it are called.

::

    config.yaml          what `rlbuffers train --config` trains again: all values, data, versions
    config.json          the same for programs, with the paper, observations and actions
    last.pth             the newest state; training goes on from here
    best.pth             the state of the best epoch so far; policy.pth where it was trained online
    learning_curve.png   return and loss over the run
    summary.json         the scores of the last and the best epoch, once the run is over
    events.out.tfevents* the same for TensorBoard
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rlbuffers.errors import BufferNotFoundError
from rlbuffers.optional import require
from rlbuffers.paths import DEFAULT_LOG_DIR

__all__ = [
    "BEST",
    "CONFIG",
    "CONFIG_OF_PROGRAMS",
    "LAST",
    "LEARNING_CURVE",
    "POLICY",
    "SUMMARY",
    "find_checkpoint",
    "new_logdir",
    "render_config",
    "seeds_logdir",
]

BEST = "best.pth"
POLICY = "policy.pth"
LAST = "last.pth"
CONFIG = "config.yaml"
CONFIG_OF_PROGRAMS = "config.json"
LEARNING_CURVE = "learning_curve.png"
SUMMARY = "summary.json"


def new_logdir(task: str, algorithm: str, seed: int) -> Path:
    """Return a folder name for a new run that tells task, algorithm, seed and time."""
    return _logdir(task, algorithm, f"seed{seed}")


def seeds_logdir(task: str, algorithm: str, seeds: Sequence[int]) -> Path:
    """Return a folder name for new runs of several seeds."""
    return _logdir(task, algorithm, "seeds" + "-".join(map(str, seeds)))


def _logdir(task: str, algorithm: str, name: str) -> Path:
    moment = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    folder = DEFAULT_LOG_DIR.expanduser() / task / algorithm
    names = (f"{name}-{moment}{f'-{count}' if count > 1 else ''}" for count in itertools.count(1))
    return next(folder / one for one in names if not (folder / one).exists())  # another may begin in the same second


def render_config(facts: Mapping[str, Any]) -> bytes:
    """Return a configuration as YAML, for `rlbuffers_train.running.run_config.read_config`."""
    yaml = require("yaml", extra="train", purpose="Training")
    # Through JSON, which turns tuples into the lists that YAML has.
    body = yaml.safe_dump(json.loads(json.dumps(facts)), sort_keys=False, allow_unicode=True, width=100)
    head = "# `rlbuffers train --config THIS_FILE` trains this again; options beside it change single values.\n"
    return (head + str(body)).encode()


def find_checkpoint(path: Path | str) -> Path:
    """Return `path`, or the checkpoint of the best epoch if it is the folder of a run.

    Raises
    ------
    BufferNotFoundError
        If the folder holds none.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        return path
    for name in (BEST, POLICY, LAST):
        if (path / name).is_file():
            return path / name
    runs = sorted(last.parent for last in path.glob(f"*/{LAST}"))
    if runs:
        raise BufferNotFoundError(f"{path}: no run, but it holds some; name one, such as {runs[0]}")
    raise BufferNotFoundError(f"{path}: there is no checkpoint in this folder; name a file such as {path / BEST}")
