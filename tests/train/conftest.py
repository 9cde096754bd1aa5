"""A task that is learned in seconds, and data of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode

SIGNAL_TASK = "Signal-v0"
AIM_TASK = "Aim-v0"
EPISODE_STEPS = 5


class SignalEnv(gymnasium.Env[np.ndarray, np.int64]):
    """A bit is shown; the action that equals it earns 1. Episodes end after 5 steps by time limit."""

    observation_space = gymnasium.spaces.Box(0.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def _observe(self) -> np.ndarray:
        self._bit = int(self.np_random.integers(2))
        return np.array([self._bit, 1 - self._bit], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return self._observe(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        reward = float(action == self._bit)
        return self._observe(), reward, False, False, {}


class AimEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """A number x in [-1, 1] is shown; actions in [-2, 2] lose the square of their distance to 2 x."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-2.0, 2.0, (1,), np.float32)

    def _observe(self) -> np.ndarray:
        self._shown = self.np_random.uniform(-1.0, 1.0, 1).astype(np.float32)
        return self._shown

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        reward = -float((action[0] - 2.0 * self._shown[0]) ** 2)
        return self._observe(), reward, False, False, {}


@pytest.fixture(scope="session")
def signal_task() -> Iterator[str]:
    gymnasium.register(SIGNAL_TASK, entry_point=SignalEnv, max_episode_steps=EPISODE_STEPS, reward_threshold=4.9)
    yield SIGNAL_TASK
    del gymnasium.registry[SIGNAL_TASK]


@pytest.fixture(scope="session")
def aim_task() -> Iterator[str]:
    gymnasium.register(AIM_TASK, entry_point=AimEnv, max_episode_steps=EPISODE_STEPS)
    yield AIM_TASK
    del gymnasium.registry[AIM_TASK]


def write_aim_buffer(path: Path, seed: int, *, with_bounds: bool = True, num_episodes: int = 60) -> Path:
    """Write episodes of a behavior policy that aims right, but for noise."""
    rng = np.random.default_rng(seed)
    bounds = {"type": "box", "low": -2.0, "high": 2.0} if with_bounds else None
    spec = BufferSpec(
        layout="episodes",
        columns=[
            ColumnSpec("observations", np.float32, (1,)),
            ColumnSpec("actions", np.float32, (1,), bounds),
            ColumnSpec("rewards", np.float32),
            ColumnSpec("terminals", np.bool_),
            ColumnSpec("timeouts", np.bool_),
        ],
    )
    with rlbuffers.create(path, spec, {"environment": {"id": AIM_TASK}}) as writer:
        for _ in range(num_episodes):
            observations = rng.uniform(-1, 1, (EPISODE_STEPS + 1, 1)).astype(np.float32)
            aimed = 2.0 * observations[:-1]
            actions = np.clip(aimed + rng.normal(0, 1, aimed.shape), -2, 2).astype(np.float32)
            columns = {
                "actions": actions,
                "rewards": -((actions - aimed)[:, 0] ** 2),
                "terminals": np.zeros(EPISODE_STEPS, np.bool_),
                "timeouts": np.arange(EPISODE_STEPS) == EPISODE_STEPS - 1,
            }
            writer.append_episode(Episode(columns, {"observations": observations}))
    return path


@pytest.fixture
def make_aim_buffer(tmp_path: Path, aim_task: str) -> Callable[..., Path]:
    def make(name: str = "aim.hdf5", seed: int = 0, **options: Any) -> Path:
        return write_aim_buffer(tmp_path / name, seed, **options)

    return make


def write_signal_buffer(path: Path, seed: int, *, num_actions: int = 2, num_episodes: int = 40) -> Path:
    """Write episodes of a behavior policy that acts at random."""
    rng = np.random.default_rng(seed)
    spec = BufferSpec(
        layout="episodes",
        columns=[
            ColumnSpec("observations", np.float32, (2,)),
            ColumnSpec("actions", np.int64, (), {"type": "discrete", "n": num_actions}),
            ColumnSpec("rewards", np.float32),
            ColumnSpec("terminals", np.bool_),
            ColumnSpec("timeouts", np.bool_),
        ],
    )
    with rlbuffers.create(path, spec, {"environment": {"id": SIGNAL_TASK}}) as writer:
        for _ in range(num_episodes):
            bits = rng.integers(0, 2, EPISODE_STEPS + 1)
            actions = rng.integers(0, 2, EPISODE_STEPS)
            columns = {
                "actions": actions,
                "rewards": (actions == bits[:-1]).astype(np.float32),
                "terminals": np.zeros(EPISODE_STEPS, np.bool_),
                "timeouts": np.arange(EPISODE_STEPS) == EPISODE_STEPS - 1,
            }
            observations = np.stack([bits, 1 - bits], axis=1).astype(np.float32)
            writer.append_episode(Episode(columns, {"observations": observations}))
    return path


@pytest.fixture
def make_signal_buffer(tmp_path: Path, signal_task: str) -> Callable[..., Path]:
    def make(name: str = "signal.hdf5", seed: int = 0, **options: Any) -> Path:
        return write_signal_buffer(tmp_path / name, seed, **options)

    return make


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tests share the machine; tiny networks gain nothing from a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
