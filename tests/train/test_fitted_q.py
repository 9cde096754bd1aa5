"""Fitted Q Evaluation against values that are known: solved by linear algebra, or by a formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rlbuffers_train.algorithms import load_algorithm
from rlbuffers_train.algorithms.base import Algorithm
from rlbuffers_train.batch import TransitionBatch, make_batch
from rlbuffers_train.off_policy.fitted_q import FittedQ, FittedQSettings
from rlbuffers_train.off_policy.recorded_values import ValueScale
from rlbuffers_train.off_policy.target_policy import target_policy
from rlbuffers_train.problem import BoxActions, DiscreteActions, ObservationStatistics, ProblemSpec
from rlbuffers_train.running.trainer import TrainingDivergedError
from rlbuffers_train.settings import with_changes

STATES, ACTIONS, GAMMA = 5, 3, 0.8
CPU = torch.device("cpu")
SETTINGS = FittedQSettings(updates=1, hidden_sizes=(64, 64), lr=3e-3, tau=0.05)
SCALE = ValueScale(center=2.0, spread=3.0, low=-np.inf, high=np.inf)


def algorithm_of(problem: ProblemSpec, name: str, **changes: Any) -> Algorithm[Any]:
    algorithm_class = load_algorithm(name, problem.actions.kind)
    torch.manual_seed(4)
    config = with_changes(algorithm_class.recommended(problem), {"hidden_sizes": (16,), **changes})
    return algorithm_class(problem, config, np.random.default_rng(0), CPU)


def fitted_q(algorithm: Algorithm[Any], eps: float, scale: ValueScale = SCALE, **options: Any) -> FittedQ:
    policy = target_policy(algorithm, eps, np.random.default_rng(1))
    return FittedQ(policy, algorithm.problem, scale, SETTINGS, seed=options.pop("seed", 0), device=CPU, **options)


def tabular_columns(seed: int, size: int = 400) -> dict[str, np.ndarray]:
    """Return transitions of a random MDP with all pairs of states, shown as one-hot vectors, and actions."""
    rng = np.random.default_rng(seed)
    pairs = np.arange(size) % (STATES * ACTIONS)
    states, actions, following = pairs // ACTIONS, pairs % ACTIONS, rng.integers(0, STATES, size)
    return {
        "observations": np.eye(STATES, dtype=np.float32)[states],
        "actions": actions,
        "rewards": rng.normal(1.0, 2.0, size).astype(np.float32),
        "next_observations": np.eye(STATES, dtype=np.float32)[following],
        "terminals": rng.random(size) < 0.2,
    }


def solved(columns: dict[str, np.ndarray], probabilities: np.ndarray) -> np.ndarray:
    """Return Q^pi, shape (S, A), of the MDP whose transitions are as frequent as in the data: Q = r + gamma P Q."""
    pairs = columns["observations"].argmax(1) * ACTIONS + columns["actions"]
    following = columns["next_observations"].argmax(1)
    total = STATES * ACTIONS
    rewards, moves = np.zeros(total), np.zeros((total, total))
    for pair, reward, state, ends in zip(pairs, columns["rewards"], following, columns["terminals"], strict=True):
        share = 1.0 / np.count_nonzero(pairs == pair)
        rewards[pair] += share * reward
        if not ends:
            for action in range(ACTIONS):
                moves[pair, state * ACTIONS + action] += share * probabilities[state, action]
    return np.linalg.solve(np.eye(total) - GAMMA * moves, rewards).reshape(STATES, ACTIONS)


def known_probabilities(algorithm: Algorithm[Any], eps: float) -> np.ndarray:
    """Return pi by its definition, from the algorithm's scores."""
    scores = algorithm.score_actions(np.eye(STATES, dtype=np.float32)).astype(np.float64)
    if algorithm.samples_inference:
        own = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    else:
        own = np.eye(ACTIONS)[scores.argmax(axis=1)]
    return (1 - eps) * own + eps / ACTIONS


TABULAR = ProblemSpec((STATES,), "float32", DiscreteActions(ACTIONS))


@pytest.mark.parametrize(
    ("name", "changes", "eps"),
    [("il", {}, 0.0), ("qrdqn", {}, 0.3), ("crr", {"samples_inference": True}, 0.0), ("crr", {}, 1.0)],
)
def test_values_are_those_of_linear_algebra(name: str, changes: dict[str, Any], eps: float) -> None:
    algorithm = algorithm_of(TABULAR, name, **changes)
    columns = tabular_columns(seed=0)
    probabilities = known_probabilities(algorithm, eps)
    expected = solved(columns, probabilities)
    fitted = fitted_q(algorithm, eps)
    batch = make_batch(columns, GAMMA, CPU)  # all data at once: no noise of batches
    for _ in range(600):
        fitted.update(batch)
    states = torch.eye(STATES)
    for action in range(ACTIONS):
        found = fitted.action_values(states, torch.full((STATES,), action)).numpy()
        np.testing.assert_allclose(found, expected[:, action], atol=0.02)
    np.testing.assert_allclose(fitted.state_values(states).numpy(), (probabilities * expected).sum(1), atol=0.02)
    assert np.ptp(expected) > 1.0  # it was not enough to know one number


@pytest.mark.parametrize("eps", [0.0, 0.25])
def test_targets_are_the_bellman_equation(eps: float) -> None:
    algorithm = algorithm_of(TABULAR, "crr", samples_inference=True)
    columns = tabular_columns(seed=1, size=40)
    columns["terminals"][:3] = [True, False, False]
    fitted = fitted_q(algorithm, eps)
    batch = make_batch(columns, GAMMA, CPU)
    probabilities = known_probabilities(algorithm, eps)
    with torch.no_grad():
        outputs = fitted.target_network(torch.eye(STATES)).numpy().astype(np.float64)
    expected = []
    for row in range(40):
        state = columns["next_observations"][row].argmax()
        value = sum(probabilities[state, a] * (SCALE.center + SCALE.spread * outputs[state, a]) for a in range(ACTIONS))
        expected.append(columns["rewards"][row] + (0.0 if columns["terminals"][row] else GAMMA * value))
    np.testing.assert_allclose(fitted.targets(batch).numpy(), expected, rtol=1e-5, atol=1e-5)
    taken = outputs[columns["observations"].argmax(1), columns["actions"]]
    errors = np.array(expected) - (SCALE.center + SCALE.spread * taken)
    np.testing.assert_allclose(fitted.td_errors(batch).numpy(), errors, rtol=1e-4, atol=1e-4)
    # Before the first step both networks are the same; the loss is in units of the spread.
    assert fitted.update(batch).item() == pytest.approx(np.mean((errors / SCALE.spread) ** 2), rel=1e-4)


BOX = ProblemSpec((2,), "float32", BoxActions((-2.0, 0.0), (2.0, 1.0)), ObservationStatistics((30.0, 0.0), (10.0, 1.0)))


def linear_quadratic(rng: np.random.Generator, size: int) -> dict[str, np.ndarray]:
    """Return steps of x' = x / 2 + a that cost (x - 30)^2 / 100 + |a|^2; the second element of s is noise."""
    observations = rng.normal([30.0, 0.0], [10.0, 1.0], (size, 2)).astype(np.float32)
    actions = rng.uniform(BOX.box.low, BOX.box.high, (size, 2)).astype(np.float32)
    following = rng.normal(0, 1, (size, 2))
    following[:, 0] = 30.0 + (observations[:, 0] - 30.0) / 2 + actions[:, 0]
    return {
        "observations": observations,
        "actions": actions,
        "rewards": -(((observations[:, 0] - 30.0) / 10.0) ** 2) - (actions**2).sum(axis=1),
        "next_observations": following.astype(np.float32),
        "terminals": np.zeros(size, np.bool_),
    }


def test_vectors_of_actions_follow_a_linear_quadratic_problem() -> None:
    algorithm = algorithm_of(BOX, "il", norm_obs=True)
    gamma, action = 0.5, np.array([-1.0, 0.75], np.float32)
    # A policy that always does the same: its values are a quadratic function of x - 30.
    with torch.no_grad():
        for weights in algorithm.actor.parameters():
            weights.zero_()
        algorithm.actor.layers[-1].bias.copy_(torch.atanh(torch.tensor([-0.5, 0.5])))
    np.testing.assert_allclose(algorithm.policy.act(np.zeros((1, 2), np.float32))[0], action, rtol=1e-6)
    fitted = fitted_q(algorithm, 0.0, ValueScale(center=-3.5, spread=1.0, low=-np.inf, high=0.0))
    batch = make_batch(linear_quadratic(np.random.default_rng(0), 1024), gamma, CPU)
    for _ in range(600):
        fitted.update(batch)
    shown = np.stack([np.linspace(20, 40, 9), np.zeros(9)], axis=1).astype(np.float32)
    # V(x) = sum of gamma^t r_t along the one path there is.
    x, expected = shown[:, 0].astype(np.float64) - 30.0, np.zeros(9)
    for step in range(40):
        expected -= gamma**step * ((x / 10.0) ** 2 + (action.astype(np.float64) ** 2).sum())
        x = x / 2 + action[0]
    np.testing.assert_allclose(fitted.state_values(torch.from_numpy(shown)).numpy(), expected, atol=0.1)


def test_random_actions_of_a_vector_are_mixed_in() -> None:
    """With one state, values are means over what is done there: a bandit."""
    algorithm = algorithm_of(BOX, "il", norm_obs=True)
    shown = torch.tensor([[30.0, 0.0]])
    chosen = algorithm.policy.act(shown.numpy())[0]
    fitted = fitted_q(algorithm, 0.4, ValueScale(center=-2.0, spread=1.0, low=-np.inf, high=0.0))
    rng = np.random.default_rng(3)
    for _ in range(400):
        actions = rng.uniform(BOX.box.low, BOX.box.high, (256, 2)).astype(np.float32)
        columns = {
            "observations": np.repeat(shown.numpy(), 256, axis=0),
            "actions": actions,
            "rewards": -(actions**2).sum(axis=1),
            "next_observations": np.repeat(shown.numpy(), 256, axis=0),
            "terminals": np.ones(256, np.bool_),
        }
        fitted.update(make_batch(columns, 0.9, CPU))
    found = fitted.state_values(shown.expand(4000, -1)).numpy()
    uniform = -(4.0 / 3.0 + 1.0 / 3.0)  # the mean of -a^2 over [-2, 2], and over [0, 1]
    assert found.mean() == pytest.approx(0.6 * -float((chosen**2).sum()) + 0.4 * uniform, abs=0.05)


def learned(seed: int) -> torch.Tensor:
    fitted = fitted_q(algorithm_of(TABULAR, "il"), 0.1, seed=seed)
    for number in range(5):
        fitted.update(make_batch(tabular_columns(number), GAMMA, CPU))
    return fitted.state_values(torch.eye(STATES))


def test_a_seed_fixes_the_values_and_leaves_the_callers_randomness_alone() -> None:
    assert torch.equal(learned(1), learned(1))
    assert not torch.equal(learned(1), learned(2))
    algorithm = algorithm_of(TABULAR, "il")
    before = torch.get_rng_state()
    fitted_q(algorithm, 0.0)
    assert torch.equal(torch.get_rng_state(), before)


def test_rewards_of_any_size_are_learned_alike() -> None:
    found = []
    for factor in (1e-6, 1.0, 1e6):
        scale = ValueScale(SCALE.center * factor, SCALE.spread * factor, SCALE.low, SCALE.high)
        fitted = fitted_q(algorithm_of(TABULAR, "il"), 0.1, scale)
        columns = tabular_columns(0)
        columns["rewards"] = columns["rewards"] * np.float32(factor)
        for _ in range(20):
            fitted.update(make_batch(columns, GAMMA, CPU))
        found.append(fitted.state_values(torch.eye(STATES)).numpy() / factor)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3)
    np.testing.assert_allclose(found[2], found[1], rtol=1e-3)


def test_no_value_leaves_the_range_of_returns_in_targets_either() -> None:
    scale = ValueScale(center=2.0, spread=1000.0, low=1.9, high=2.1)
    fitted = fitted_q(algorithm_of(TABULAR, "il"), 0.0, scale)
    values = fitted.state_values(torch.eye(STATES))
    assert set(np.round(values.numpy(), 6)) == {np.float32(1.9), np.float32(2.1)}
    batch = make_batch(tabular_columns(0), GAMMA, CPU)
    following = values[batch.next_observations.argmax(1)]
    torch.testing.assert_close(fitted.targets(batch), batch.rewards + batch.discounts * following)
    actions = torch.zeros(STATES, dtype=torch.int64)
    assert not bool(((fitted.action_values(torch.eye(STATES), actions) - 2.0).abs() < 0.11).all())  # Q tells of it


def test_values_that_are_no_numbers_are_told() -> None:
    fitted = fitted_q(algorithm_of(TABULAR, "il"), 0.0)
    batch = make_batch(tabular_columns(0), GAMMA, CPU)
    fitted.require_finite()
    fitted.update(batch._replace(rewards=torch.full_like(batch.rewards, torch.nan)))
    with pytest.raises(TrainingDivergedError, match="became NaN or infinite"):
        fitted.require_finite()


def test_images_go_through_convolutions() -> None:
    problem = ProblemSpec((4, 84, 84), "uint8", DiscreteActions(ACTIONS))
    fitted = fitted_q(algorithm_of(problem, "bcq"), 0.0)
    frames = torch.randint(0, 256, (3, 4, 84, 84), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    batch = TransitionBatch(
        frames, torch.tensor([0, 1, 2]), torch.ones(3), frames.flip(0), torch.tensor([GAMMA, 0.0, GAMMA])
    )
    first = fitted.update(batch)
    for _ in range(20):
        last = fitted.update(batch)
    assert last < 0.1 * first
    assert fitted.state_values(frames).shape == (3,)
