from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import gymnasium
import numpy as np
import pytest

from rlbuffers_train.playing.episodes import EvaluationResult, evaluate

TASK = "Lengths-v0"


class LengthsEnv(gymnasium.Env[np.ndarray, np.int64]):
    """Episodes of 1, 2, ..., 9 steps in turn, beginning anywhere; each step earns 1."""

    observation_space = gymnasium.spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    _length = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self._length = int(self.np_random.integers(9))
        self._length = self._length % 9 + 1
        self._left = self._length
        return np.zeros(1, np.float32), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._left -= 1
        return np.zeros(1, np.float32), 1.0, self._left == 0, False, {}


class Zeros:
    """A policy that always acts 0 and counts how often it is asked."""

    def __init__(self) -> None:
        self.num_calls = 0

    def act(self, observations: np.ndarray) -> np.ndarray:
        self.num_calls += 1
        return np.zeros(len(observations), np.int64)

    def fork(self, generator: np.random.Generator) -> Self:
        return self


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    gymnasium.register(TASK, entry_point=LengthsEnv)
    yield
    del gymnasium.registry[TASK]


def test_short_episodes_are_not_favoured() -> None:
    # 10 environments of 9 episodes each play every length equally often; the first 90 to end would be shorter.
    result = evaluate(Zeros(), TASK, 90, np.random.default_rng(0))
    assert result == EvaluationResult(mean=5.0, std=float(np.std(range(1, 10))), num_episodes=90, mean_length=5.0)


@pytest.mark.parametrize("num_episodes", [1, 3, 10, 13])
def test_plays_the_number_of_episodes_asked_for(num_episodes: int) -> None:
    result = evaluate(Zeros(), TASK, num_episodes, np.random.default_rng(0))
    assert result.num_episodes == num_episodes
    assert 1 <= result.mean == result.mean_length <= 9


def test_the_generator_decides() -> None:
    first, second, other = (evaluate(Zeros(), "CartPole-v1", 20, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == second != other


def test_a_threshold_is_reached_with_a_standard_error_to_spare() -> None:
    result = EvaluationResult(mean=490.0, std=40.0, num_episodes=16, mean_length=490.0)
    assert result.surely_reaches(480.0)
    assert not result.surely_reaches(480.1)


def test_can_be_broken_off() -> None:
    policy = Zeros()

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(policy, TASK, 5, np.random.default_rng(0), stop)
    assert policy.num_calls == 1
