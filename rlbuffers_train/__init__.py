"""Training on buffers of `rlbuffers`: offline algorithms, and the online expert that makes data.

::

    from rlbuffers_train import TrainingRequest, train_offline

    summary = train_offline(TrainingRequest("bcq", buffer=Path("cartpole.hdf5"), task="CartPole-v1"))

Importing this package loads nothing heavy; each name below is loaded when it is first used, after a
check that the packages of the extra ``train`` are installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rlbuffers.optional import require

if TYPE_CHECKING:
    from rlbuffers_train.algorithms import ALGORITHMS
    from rlbuffers_train.comparing.checkpoint_evaluation import JudgedPolicy
    from rlbuffers_train.comparing.comparison import compare_runs
    from rlbuffers_train.expert import train_online, train_qrdqn
    from rlbuffers_train.generation import GeneratedBuffer, generate
    from rlbuffers_train.loaded_policy import LoadedPolicy, load_policy
    from rlbuffers_train.off_policy.judging import evaluate_off_policy
    from rlbuffers_train.offline import train_offline
    from rlbuffers_train.playing.episodes import evaluate
    from rlbuffers_train.policy_export import export_policy
    from rlbuffers_train.running.interrupts import TrainingInterrupted
    from rlbuffers_train.running.live_table import LiveTable
    from rlbuffers_train.running.run_folder import BEST, LAST, POLICY
    from rlbuffers_train.running.run_summary import RunSummary
    from rlbuffers_train.running.training_request import TrainingRequest

__all__ = [
    "ALGORITHMS",
    "BEST",
    "LAST",
    "POLICY",
    "GeneratedBuffer",
    "JudgedPolicy",
    "LiveTable",
    "LoadedPolicy",
    "RunSummary",
    "TrainingInterrupted",
    "TrainingRequest",
    "compare_runs",
    "evaluate",
    "evaluate_off_policy",
    "export_policy",
    "generate",
    "load_policy",
    "train_offline",
    "train_online",
    "train_qrdqn",
]

_HOMES = {
    "ALGORITHMS": "algorithms",
    "BEST": "running.run_folder",
    "GeneratedBuffer": "generation",
    "JudgedPolicy": "comparing.checkpoint_evaluation",
    "LAST": "running.run_folder",
    "POLICY": "running.run_folder",
    "LiveTable": "running.live_table",
    "LoadedPolicy": "loaded_policy",
    "RunSummary": "running.run_summary",
    "TrainingInterrupted": "running.interrupts",
    "TrainingRequest": "running.training_request",
    "compare_runs": "comparing.comparison",
    "evaluate": "playing.episodes",
    "evaluate_off_policy": "off_policy.judging",
    "export_policy": "policy_export",
    "generate": "generation",
    "load_policy": "loaded_policy",
    "train_offline": "offline",
    "train_online": "expert",
    "train_qrdqn": "expert",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rlbuffers_train' has no attribute {name!r}")
    for package in ("torch", "tensorboard", "matplotlib"):
        require(package, extra="train", purpose="Training")
    return getattr(importlib.import_module(f"rlbuffers_train.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
