from __future__ import annotations

import numpy as np
import pytest
import torch

from rlbuffers_train.algorithms.qrdqn import QRDQN, QRDQNConfig
from rlbuffers_train.batch import make_batch
from rlbuffers_train.problem import DiscreteActions, ProblemSpec

CPU = torch.device("cpu")
PROBLEM = ProblemSpec((3,), "float32", DiscreteActions(4))
CONFIG = QRDQNConfig(lr=0.01, hidden_sizes=(8,), num_quantiles=5, target_update_freq=1000, eps_inference=0.0)


def make_columns(seed: int, size: int = 8) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "observations": rng.normal(size=(size, 3)).astype(np.float32),
        "next_observations": rng.normal(size=(size, 3)).astype(np.float32),
        "actions": rng.integers(0, 4, size),
        "rewards": rng.normal(0, 3, size).astype(np.float32),
        "discounts": rng.choice([0.0, 0.97, 0.9], size).astype(np.float32),
    }


def make_algorithm() -> QRDQN:
    torch.manual_seed(0)
    return QRDQN(PROBLEM, CONFIG, np.random.default_rng(0), CPU)


def quantiles_of(network: torch.nn.Module, inputs: np.ndarray) -> np.ndarray:
    weights = {name: value.numpy().astype(np.float64) for name, value in network.state_dict().items()}
    hidden = np.maximum(inputs @ weights["head.0.weight"].T + weights["head.0.bias"], 0.0)
    outputs = hidden @ weights["head.2.weight"].T + weights["head.2.bias"]
    return outputs.reshape(len(inputs), 4, 5)


def test_loss_equals_algorithm_1_in_numpy() -> None:
    algorithm = make_algorithm()
    for seed in range(3):  # so that network and target network differ
        algorithm.update(make_batch(make_columns(seed), 0.99, CPU))
    columns = make_columns(9)
    predicted = quantiles_of(algorithm.network, columns["observations"])
    following = quantiles_of(algorithm.target_network, columns["next_observations"])
    losses = []
    for row, action in enumerate(columns["actions"]):
        best = np.argmax(following[row].mean(axis=1))
        targets = columns["rewards"][row] + columns["discounts"][row] * following[row, best]
        loss = 0.0
        for i in range(5):
            tau = (2 * i + 1) / 10
            for target in targets:
                u = target - predicted[row, action, i]
                loss += abs(tau - (u < 0)) * (0.5 * u * u if abs(u) <= 1 else abs(u) - 0.5) / 5
        losses.append(loss)
    found, _ = algorithm.loss(make_batch(columns, 0.99, CPU))
    assert found.item() == pytest.approx(np.mean(losses), rel=1e-4)


def test_acts_on_the_mean_of_the_quantiles() -> None:
    algorithm = make_algorithm()
    observations = make_columns(1, 20)["observations"]
    expected = quantiles_of(algorithm.network, observations).mean(axis=2)
    np.testing.assert_allclose(algorithm.score_actions(observations), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(algorithm.policy.act(observations), expected.argmax(axis=1))


def test_target_network_is_copied_at_its_frequency() -> None:
    torch.manual_seed(0)
    algorithm = QRDQN(PROBLEM, QRDQNConfig(hidden_sizes=(8,), target_update_freq=3), np.random.default_rng(0), CPU)
    copied = []
    for seed in range(6):
        algorithm.update(make_batch(make_columns(seed), 0.99, CPU))
        pairs = zip(algorithm.network.parameters(), algorithm.target_network.parameters(), strict=True)
        copied.append(all(torch.equal(online, target) for online, target in pairs))
    assert copied == [False, False, True, False, False, True]
