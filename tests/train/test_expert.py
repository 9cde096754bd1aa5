from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlbuffers.errors import UsageError
from rlbuffers_train.algorithms.qrdqn import QRDQN
from rlbuffers_train.checkpoint import load_checkpoint
from rlbuffers_train.expert import train_online, train_qrdqn
from rlbuffers_train.loaded_policy import load_policy
from rlbuffers_train.online_settings import OnlineSettings, recommended_settings
from rlbuffers_train.policy import ExploringPolicy
from rlbuffers_train.problem import DiscreteActions, ProblemSpec
from rlbuffers_train.running.interrupts import TrainingInterrupted
from rlbuffers_train.running.training_request import TrainingRequest

SETTINGS = {
    "epoch": 8,
    "step_per_epoch": 500,
    "num_envs": 5,
    "replay_capacity": 1000,
    "min_history": 50,
    "update_per_step": 0.2,
    "eps_decay_steps": 500,
    "eval_episodes": 5,
}
HYPERPARAMETERS = {"batch_size": 32, "hidden_sizes": (32,), "num_quantiles": 5, "target_update_freq": 20, "lr": 0.01}


def request(task: str, logdir: Path, **settings: Any) -> TrainingRequest:
    return TrainingRequest(
        "qrdqn",
        task=task,
        logdir=logdir,
        device="cpu",
        settings={**SETTINGS, **settings},
        hyperparameters=HYPERPARAMETERS,
    )


def test_learns_and_stops_when_the_task_is_solved(signal_task: str, tmp_path: Path) -> None:
    summary = train_online(request(signal_task, tmp_path / "run"))
    assert summary.best is not None
    assert summary.best.mean == 5.0
    history = load_checkpoint(tmp_path / "run" / "last.pth", torch.device("cpu")).history
    assert len(history) < 8
    assert [record.is_solved for record in history] == [False] * (len(history) - 1) + [True]
    assert (tmp_path / "run" / "policy.pth").exists()


def test_explores_while_collecting_and_not_while_evaluating(
    signal_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    act = ExploringPolicy.act

    def spy(policy: ExploringPolicy, observations: np.ndarray) -> np.ndarray:
        seen.append((policy.is_within_training_step, policy.eps))
        return act(policy, observations)

    monkeypatch.setattr(ExploringPolicy, "act", spy)
    train_online(request(signal_task, tmp_path / "run", epoch=1, stop_at=100.0))
    collecting, evaluating = seen[:100], seen[100:]
    assert [flag for flag, _ in collecting] == [True] * 100
    assert [eps for _, eps in collecting] == pytest.approx([1.0 - 0.95 * row / 100 for row in range(100)])
    assert set(evaluating) == {(False, 0.0)}


def test_loaded_policy(signal_task: str, tmp_path: Path) -> None:
    train_online(request(signal_task, tmp_path / "run"))
    path = tmp_path / "run" / "policy.pth"
    greedy = load_policy(path, eps=0.0, generator=np.random.default_rng(0))
    assert (greedy.algorithm, greedy.task) == ("qrdqn", signal_task)
    assert greedy.checkpoint_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    bits = np.random.default_rng(1).integers(0, 2, 400)
    observations = np.stack([bits, 1 - bits], axis=1).astype(np.float32)
    np.testing.assert_array_equal(greedy.act(observations), bits)
    exploring = load_policy(path, eps=0.5, generator=np.random.default_rng(0))
    assert (exploring.act(observations) != bits).mean() == pytest.approx(0.25, abs=0.07)
    with pytest.raises(UsageError, match="eps must lie"):
        load_policy(path, eps=1.5, generator=np.random.default_rng(0))


def test_same_seed_same_weights(signal_task: str, tmp_path: Path) -> None:
    for name, seed in (("first", 1), ("second", 1), ("other", 2)):
        train_online(request(signal_task, tmp_path / name, seed=seed, epoch=1))
    first, second, other = (
        load_checkpoint(tmp_path / name / "last.pth", torch.device("cpu")).algorithm_state["network"]
        for name in ("first", "second", "other")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_resumes_with_weights_and_count(signal_task: str, tmp_path: Path) -> None:
    first = request(signal_task, tmp_path / "run", epoch=1, stop_at=100.0)
    train_online(first)
    before = load_checkpoint(tmp_path / "run" / "last.pth", torch.device("cpu"))
    longer = TrainingRequest("qrdqn", resume_path=tmp_path / "run" / "last.pth", settings={"epoch": 2})
    train_online(longer)
    after = load_checkpoint(tmp_path / "run" / "last.pth", torch.device("cpu"))
    assert (before.step, after.step) == (500, 1000)
    assert after.algorithm_state["num_updates"] > before.algorithm_state["num_updates"]
    assert after.history[0] == before.history[0]


def test_resuming_refuses_changes(signal_task: str, tmp_path: Path) -> None:
    train_online(request(signal_task, tmp_path / "run", epoch=1))
    again = TrainingRequest("qrdqn", resume_path=tmp_path / "run" / "last.pth")
    with pytest.raises(UsageError, match=r"was trained and evaluated in Signal-v0, not in CartPole-v1"):
        train_online(replace(again, task="CartPole-v1"))
    with pytest.raises(UsageError, match="--n-step is 5"):
        train_online(replace(again, hyperparameters={"n_step": 2}))
    with pytest.raises(UsageError, match="--num-quantiles is 5"):
        train_online(replace(again, hyperparameters={"num_quantiles": 6}))


def test_continuous_actions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="qrdqn is for discrete actions, here are continuous actions"):
        train_qrdqn("Pendulum-v1", logdir=tmp_path)


def test_exploration_falls_linearly() -> None:
    settings = OnlineSettings(eps_start=1.0, eps_end=0.1, eps_decay_steps=100)
    assert [settings.eps_of_step(step) for step in (0, 50, 100, 1000)] == pytest.approx([1.0, 0.55, 0.1, 0.1])


def test_nothing_is_lost_when_an_evaluation_is_interrupted(
    signal_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: Any) -> None:
        raise TrainingInterrupted

    monkeypatch.setattr("rlbuffers_train.running.run.evaluate", interrupt)
    with pytest.raises(TrainingInterrupted, match="stopped after 500 environment steps"):
        train_online(request(signal_task, tmp_path / "run"))
    monkeypatch.undo()
    resumed = TrainingRequest("qrdqn", resume_path=tmp_path / "run" / "last.pth")
    summary = train_online(resumed)
    assert summary.best is not None


def test_images_get_the_references_hyperparameters() -> None:
    problem = ProblemSpec((4, 84, 84), "uint8", DiscreteActions(6))
    config, settings = QRDQN.recommended(problem), recommended_settings(problem, "PongNoFrameskip-v4")
    assert (config.num_quantiles, config.lr, config.batch_size, config.target_update_freq) == (200, 1e-4, 32, 500)
    assert (settings.num_envs, config.n_step, settings.update_per_step) == (10, 3, 0.1)
    assert (settings.eps_start, settings.eps_end, settings.eps_decay_steps) == (1.0, 0.05, 1_000_000)
    assert (settings.replay_capacity, settings.min_history, settings.stop_at) == (100_000, 320, 20.0)
