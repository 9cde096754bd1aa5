"""The policy that is judged does what the algorithm's own policy does."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from rlbuffers_train.algorithms import ALGORITHMS, AlgorithmEntry, load_algorithm
from rlbuffers_train.algorithms.base import Algorithm
from rlbuffers_train.off_policy.target_policy import target_policy
from rlbuffers_train.problem import BoxActions, DiscreteActions, ObservationStatistics, ProblemSpec
from rlbuffers_train.settings import with_changes

CPU = torch.device("cpu")
INPUTS, ACTIONS = 3, 4
STATISTICS = ObservationStatistics((1.0,) * INPUTS, (2.0,) * INPUTS)
# BCQ chooses among many actions, of a large network.
SMALL: dict[tuple[str, str], dict[str, Any]] = {("bcq", "box"): {"vae_hidden_sizes": (8,), "num_act_actions": 5}}
KINDS = {"discrete": DiscreteActions(ACTIONS), "box": BoxActions((-1.0, 0.0), (3.0, 1.0))}


def algorithm_of(name: str, kind: str, **changes: Any) -> Algorithm[Any]:
    problem = ProblemSpec((INPUTS,), "float32", KINDS[kind], STATISTICS)
    algorithm_class = load_algorithm(name, kind)
    torch.manual_seed(0)
    config = with_changes(algorithm_class.recommended(problem), {"hidden_sizes": (16,), "norm_obs": True, **changes})
    return algorithm_class(problem, config, np.random.default_rng(0), CPU)


def shown(count: int) -> np.ndarray:
    return np.random.default_rng(1).normal(1.0, 2.0, (count, INPUTS)).astype(np.float32)


def identity(entry: AlgorithmEntry) -> str:
    return f"{entry.name}-{entry.actions}"


@pytest.mark.parametrize("entry", ALGORITHMS, ids=identity)
@pytest.mark.parametrize("eps", [0.0, 0.5])
def test_expected_values_are_means_over_what_the_policy_does(entry: AlgorithmEntry, eps: float) -> None:
    algorithm = algorithm_of(entry.name, entry.actions, **SMALL.get((entry.name, entry.actions), {}))
    policy = target_policy(algorithm, eps, np.random.default_rng(2))
    network = policy.make_network((8,))
    acting = algorithm.policy.fork(np.random.default_rng(3))
    acting.eps_inference = eps
    repeats = 2000
    observations = np.repeat(shown(1), repeats, axis=0)
    seen = torch.from_numpy(observations)
    with torch.no_grad():
        expected = policy.values_of(network, seen, torch.from_numpy(acting.act(observations)))
        found = policy.expected_values(network, seen, seen)
    error = 5 * float(expected.std()) / np.sqrt(repeats) + 1e-4
    assert float(found.mean()) == pytest.approx(float(expected.mean()), abs=2 * error)


def test_a_distribution_is_summed_over_not_drawn_from() -> None:
    algorithm = algorithm_of("crr", "discrete", samples_inference=True)
    observations = shown(1)
    drawn = Counter(algorithm.policy.act(np.repeat(observations, 20_000, axis=0)).tolist())
    probabilities = algorithm.probabilities(
        algorithm.to_inputs(observations), np.random.default_rng(0), samples=True
    ).detach()[0]
    assert len(drawn) == ACTIONS
    for action in range(ACTIONS):
        assert float(probabilities[action]) == pytest.approx(drawn[action] / 20_000, abs=0.02)
    seen = torch.from_numpy(shown(5))
    for eps in (0.0, 0.4):
        policy = target_policy(algorithm, eps, np.random.default_rng(0))
        network = policy.make_network((8,))
        with torch.no_grad():
            once, again = (policy.expected_values(network, seen, seen) for _ in range(2))
            assert torch.equal(once, again)
            each = torch.stack([policy.closeness(seen, torch.full((5,), action)) for action in range(ACTIONS)], dim=1)
            values = torch.stack(
                [policy.values_of(network, seen, torch.full((5,), action)) for action in range(ACTIONS)], dim=1
            )
        torch.testing.assert_close(each.sum(dim=1), torch.ones(5))
        torch.testing.assert_close((each * values).sum(dim=1), once)


def test_closeness_of_vectors_is_in_units_of_their_bounds() -> None:
    algorithm = algorithm_of("td3-bc", "box")
    policy = target_policy(algorithm, 0.0, np.random.default_rng(0))
    observations = shown(6)
    actions = np.random.default_rng(5).uniform([-1.0, 0.0], [3.0, 1.0], (6, 2)).astype(np.float32)
    chosen = algorithm.policy.act(observations)
    expected = [
        np.mean([((chosen[row, 0] - actions[row, 0]) / 2.0) ** 2, ((chosen[row, 1] - actions[row, 1]) / 0.5) ** 2])
        for row in range(6)
    ]
    with torch.no_grad():
        found = policy.closeness(torch.from_numpy(observations), torch.from_numpy(actions))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)
