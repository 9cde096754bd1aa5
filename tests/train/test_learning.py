"""Whole trainings, short ones: each algorithm learns what its data allow.

CartPole: a controller that balances for ever, disturbed by one random action in five. Pendulum: everything that a
short SAC training played, from its first random steps on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rlbuffers
from rlbuffers.sources.policy_rollout import PolicyRolloutSource
from rlbuffers_train import train_offline, train_online
from rlbuffers_train.policy import ExploringPolicy
from rlbuffers_train.problem import DiscreteActions
from rlbuffers_train.replay_recorder import ReplayRecorder
from rlbuffers_train.running.run_summary import RunSummary
from rlbuffers_train.running.training_request import TrainingRequest

pytestmark = pytest.mark.slow

SMALL = {"hidden_sizes": (64, 64), "actor_lr": 1e-3}
ACTOR_CRITIC = {**SMALL, "critic_lr": 1e-3}


def balance(observations: np.ndarray, generator: np.random.Generator, *, samples: bool) -> np.ndarray:
    """Push towards where the pole falls, and a little against drifting away."""
    return (observations @ np.array([0.05, 0.2, 1.0, 0.5]) > 0).astype(np.int64)


@pytest.fixture(scope="session")
def cartpole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cartpole") / "expert-eps0.2.hdf5"
    policy = ExploringPolicy(balance, DiscreteActions(2), np.random.default_rng(0), eps_training=0.2, eps_inference=0.2)
    source = PolicyRolloutSource(policy, {"name": "controller"}, "CartPole-v1", size=20_000, num_envs=10, seed=0)
    rlbuffers.convert(source, path)
    return path


@pytest.fixture(scope="session")
def pendulum(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pendulum")
    # 10 environments lose a step to each reset: 50,250 steps are 50,000 transitions.
    settings = {
        "epoch": 1,
        "step_per_epoch": 50_250,
        "num_envs": 10,
        "random_steps": 1000,
        "min_history": 500,
        "replay_capacity": 60_000,
        "update_per_step": 0.2,
        "eval_episodes": 1,
    }
    hyperparameters = {**ACTOR_CRITIC, "alpha_lr": 1e-3, "batch_size": 128}
    request = TrainingRequest(
        "sac",
        task="Pendulum-v1",
        logdir=folder / "run",
        device="cpu",
        settings=settings,
        hyperparameters=hyperparameters,
    )
    with ReplayRecorder(folder / "medium-replay.hdf5", "Pendulum-v1", {"name": "sac"}) as recorder:
        train_online(request, recorder=recorder)
    return folder / "medium-replay.hdf5"


def train(
    name: str, buffer: Path, logdir: Path, updates: int, hyperparameters: Mapping[str, Any], **settings: Any
) -> RunSummary:
    request = TrainingRequest(
        name,
        buffer=buffer,
        logdir=logdir,
        device="cpu",
        settings={"epoch": 1, "update_per_epoch": updates, "eval_episodes": 20, **settings},
        hyperparameters=hyperparameters,
    )
    return train_offline(request)


@pytest.mark.parametrize(
    ("name", "precision"),
    [("il", "float32"), ("bcq", "float32"), ("cql", "float32"), ("crr", "float32"), ("bcq", "bfloat16")],
)
def test_cartpole_from_a_disturbed_expert(name: str, precision: str, cartpole: Path, tmp_path: Path) -> None:
    summary = train(name, cartpole, tmp_path / "run", 1500, {}, precision=precision)
    assert summary.best is not None
    assert summary.best.mean >= 450


@pytest.mark.parametrize(
    ("name", "updates", "hyperparameters", "at_least"),
    [
        # The data begin at random: the default weight of 2.5 stays too near to them.
        ("td3-bc", 8000, {**ACTOR_CRITIC, "alpha": 10.0, "tau": 0.02, "batch_size": 256}, -250),
        (
            "rebrac",
            5000,
            {"hidden_sizes": (64, 64), "batch_size": 256, "actor_bc_coef": 0.01, "critic_bc_coef": 0.01},
            -250,
        ),
        ("iql", 5000, {**ACTOR_CRITIC, "value_lr": 1e-3, "batch_size": 128, "decay_updates": 0}, -250),
        ("bcq", 3000, {"hidden_sizes": (64, 64), "vae_hidden_sizes": (64, 64)}, None),
        ("cql", 3000, {**ACTOR_CRITIC, "alpha_lr": 1e-3, "num_sampled_actions": 4, "batch_size": 64}, None),
    ],
)
def test_pendulum_from_what_sac_played(
    name: str, updates: int, hyperparameters: Mapping[str, Any], at_least: float | None, pendulum: Path, tmp_path: Path
) -> None:
    with rlbuffers.open(pendulum) as buffer:
        behavior = buffer.metadata["statistics"]["episode_returns"]["mean"]
        assert len(buffer) == 50_000
    summary = train(name, pendulum, tmp_path / "run", updates, hyperparameters)
    assert summary.best is not None
    assert summary.best.mean >= (behavior if at_least is None else at_least)
