"""Trainings that take a second, and what a command says when it refuses something."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from click.testing import Result

from rlbuffers_train.running.training_request import TrainingRequest

SETTINGS = {"epoch": 2, "update_per_epoch": 100, "eval_episodes": 3}
HYPERPARAMETERS = {"hidden_sizes": (16,), "batch_size": 16}


def small_request(
    name: str,
    buffer: Path,
    logdir: Path,
    settings: Mapping[str, Any] | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
) -> TrainingRequest:
    """Ask for a training on the CPU with a little network, but for what is given."""
    return TrainingRequest(
        name,
        buffer=buffer,
        logdir=logdir,
        device="cpu",
        settings={**SETTINGS, **(settings or {})},
        hyperparameters={**HYPERPARAMETERS, **(hyperparameters or {})},
    )


def error_of(result: Result) -> str:
    """Return the one line in which a command tells what was wrong."""
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    return line
