from __future__ import annotations

import numpy as np
import pytest

from rlbuffers_train.policy import ExploringPolicy
from rlbuffers_train.problem import DiscreteActions
from rlbuffers_train.running.trainer import within_training_step

OBSERVATIONS = np.zeros((4000, 1), np.float32)


def make_policy(eps_training: float = 1.0, eps_inference: float = 0.0, seed: int = 0) -> ExploringPolicy:
    def choose(observations: np.ndarray, generator: np.random.Generator, *, samples: bool) -> np.ndarray:
        return np.full(len(observations), 2)

    generator = np.random.default_rng(seed)
    actions = DiscreteActions(4)
    return ExploringPolicy(choose, actions, generator, eps_training=eps_training, eps_inference=eps_inference)


def test_exploration_follows_the_flag() -> None:
    policy = make_policy()
    assert set(policy.act(OBSERVATIONS)) == {2}
    with within_training_step(policy):
        assert policy.is_within_training_step
        np.testing.assert_allclose(np.bincount(policy.act(OBSERVATIONS)) / 4000, 0.25, atol=0.03)
    assert set(policy.act(OBSERVATIONS)) == {2}


def test_flag_is_cleared_after_an_error() -> None:
    policy = make_policy()
    with pytest.raises(ZeroDivisionError), within_training_step(policy):
        raise ZeroDivisionError
    assert not policy.is_within_training_step


def test_share_of_random_actions_is_eps() -> None:
    actions = make_policy(eps_inference=0.2).act(OBSERVATIONS)
    assert actions.dtype == np.int64
    # A random action is the greedy one in a quarter of cases.
    np.testing.assert_allclose((actions != 2).mean(), 0.2 * 0.75, atol=0.02)


def test_same_generator_same_actions() -> None:
    first, second = (make_policy(eps_inference=0.5, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.act(OBSERVATIONS), second.act(OBSERVATIONS))


def test_a_fork_leaves_the_original_alone() -> None:
    policy = make_policy(eps_inference=0.5)
    with within_training_step(policy):
        forked = policy.fork(np.random.default_rng(1))
    assert forked.is_within_training_step
    assert not policy.is_within_training_step
    state = policy.generator.bit_generator.state
    forked.act(OBSERVATIONS)
    assert policy.generator.bit_generator.state == state
