"""Discrete BCQ against NumPy in float64, with gradients and Adam written out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlbuffers.errors import UsageError
from rlbuffers_train.algorithms.bcq_discrete import DiscreteBCQ, DiscreteBCQConfig
from rlbuffers_train.batch import TransitionBatch, make_batch
from rlbuffers_train.problem import DiscreteActions, ProblemSpec

CPU = torch.device("cpu")
PROBLEM = ProblemSpec((3,), "float32", DiscreteActions(4))
CONFIG = DiscreteBCQConfig(lr=0.01, adam_eps=1e-3, batch_size=16, gamma=0.9, target_update_freq=2, hidden_sizes=(8,))
Weights = dict[str, np.ndarray]


def make_columns(seed: int, size: int = 16) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    ends = rng.random(size) < 0.4
    return {
        "observations": rng.normal(size=(size, 3)).astype(np.float32),
        "next_observations": rng.normal(size=(size, 3)).astype(np.float32),
        "actions": rng.integers(0, 4, size),
        "rewards": rng.normal(0, 3, size).astype(np.float32),
        "terminals": ends & (rng.random(size) < 0.5),
        "timeouts": ends,
    }


def make_algorithm(config: DiscreteBCQConfig = CONFIG, seed: int = 0) -> DiscreteBCQ:
    torch.manual_seed(seed)
    return DiscreteBCQ(PROBLEM, config, np.random.default_rng(seed), CPU)


def weights_of(network: torch.nn.Module) -> Weights:
    return {name: value.detach().numpy().astype(np.float64) for name, value in network.state_dict().items()}


def head(weights: Weights, name: str, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    hidden = np.maximum(inputs @ weights[f"{name}.0.weight"].T + weights[f"{name}.0.bias"], 0.0)
    return hidden, hidden @ weights[f"{name}.2.weight"].T + weights[f"{name}.2.bias"]


def backward(weights: Weights, name: str, inputs: np.ndarray, hidden: np.ndarray, slope: np.ndarray) -> Weights:
    inner = (slope @ weights[f"{name}.2.weight"]) * (hidden > 0)
    return {
        f"{name}.0.weight": inner.T @ inputs,
        f"{name}.0.bias": inner.sum(0),
        f"{name}.2.weight": slope.T @ hidden,
        f"{name}.2.bias": slope.sum(0),
    }


def slow_loss_and_gradient(
    weights: Weights, target_weights: Weights, columns: dict[str, np.ndarray], config: DiscreteBCQConfig
) -> tuple[float, Weights]:
    observations, following = columns["observations"].astype(float), columns["next_observations"].astype(float)
    size = len(observations)
    values_hidden, values = head(weights, "value_head", observations)
    logits_hidden, logits = head(weights, "policy_head", observations)
    _, next_values = head(weights, "value_head", following)
    _, next_logits = head(weights, "policy_head", following)
    _, target_values = head(target_weights, "value_head", following)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    loss, value_slope, logit_slope = 0.0, np.zeros_like(values), np.zeros_like(logits)
    for row in range(size):
        likelihoods = np.exp(next_logits[row]) / np.exp(next_logits[row]).sum()
        allowed = [
            action for action in range(4) if likelihoods[action] / likelihoods.max() > config.unlikely_action_threshold
        ]
        best = max(allowed, key=lambda action: next_values[row, action])
        bootstrap = 0.0 if columns["terminals"][row] else config.gamma * target_values[row, best]
        action = columns["actions"][row]
        error = values[row, action] - (columns["rewards"][row] + bootstrap)
        loss += (0.5 * error**2 if abs(error) < 1 else abs(error) - 0.5) / size
        loss += -np.log(probabilities[row, action]) / size
        loss += config.imitation_logits_penalty * (logits[row] ** 2).sum() / logits.size
        value_slope[row, action] = np.clip(error, -1, 1) / size
        logit_slope[row] = (probabilities[row] - np.eye(4)[action]) / size
        logit_slope[row] += config.imitation_logits_penalty * 2 * logits[row] / logits.size
    gradient = backward(weights, "value_head", observations, values_hidden, value_slope)
    gradient |= backward(weights, "policy_head", observations, logits_hidden, logit_slope)
    return loss, gradient


def to_batch(columns: dict[str, np.ndarray], gamma: float = CONFIG.gamma) -> TransitionBatch:
    return make_batch(columns, gamma, CPU)


def test_loss_equals_numpy() -> None:
    algorithm = make_algorithm()
    columns = make_columns(1)
    weights = weights_of(algorithm.network)
    expected, _ = slow_loss_and_gradient(weights, weights, columns, CONFIG)
    loss, parts = algorithm.loss(to_batch(columns))
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    total = parts["value_loss"] + parts["imitation_loss"]
    assert total.item() < loss.item()


def test_updates_equal_numpy_with_adam_by_hand() -> None:
    algorithm = make_algorithm()
    weights = weights_of(algorithm.network)
    target_weights = dict(weights)
    mean = {name: np.zeros_like(value) for name, value in weights.items()}
    square = {name: np.zeros_like(value) for name, value in weights.items()}
    for step in range(1, 6):
        columns = make_columns(step)
        loss, gradient = slow_loss_and_gradient(weights, target_weights, columns, CONFIG)
        updated = {}
        for name, value in weights.items():
            mean[name] = 0.9 * mean[name] + 0.1 * gradient[name]
            square[name] = 0.999 * square[name] + 0.001 * gradient[name] ** 2
            slope = mean[name] / (1 - 0.9**step)
            spread = np.sqrt(square[name] / (1 - 0.999**step))
            updated[name] = value - CONFIG.lr * slope / (spread + CONFIG.adam_eps)
        weights = updated
        if step % CONFIG.target_update_freq == 0:
            target_weights = dict(weights)
        metrics = algorithm.update(to_batch(columns))
        assert metrics["loss"] == pytest.approx(loss, rel=1e-4)
    for name, value in weights.items():
        np.testing.assert_allclose(weights_of(algorithm.network)[name], value, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(
            weights_of(algorithm.target_network)[name], target_weights[name], rtol=1e-4, atol=1e-6
        )


def test_unlikely_actions_are_never_chosen() -> None:
    algorithm = make_algorithm()
    observations = make_columns(5, 200)["observations"]
    _, logits = head(weights_of(algorithm.network), "policy_head", observations.astype(float))
    likelihoods = np.exp(logits - logits.max(1, keepdims=True))
    values = algorithm.score_actions(observations)
    np.testing.assert_array_equal(np.isneginf(values), likelihoods <= 0.3)


@pytest.mark.parametrize(("threshold", "chosen"), [(0.0, 1), (0.2, 1), (0.3, 2), (0.9, 0)])
def test_threshold_trades_imitation_for_value(threshold: float, chosen: int) -> None:
    algorithm = make_algorithm(replace(CONFIG, unlikely_action_threshold=threshold))
    with torch.no_grad():
        for name, parameter in algorithm.network.named_parameters():
            parameter.zero_()
            if name == "value_head.2.bias":
                parameter.copy_(torch.tensor([0.0, 3.0, 2.0, 1.0]))
            if name == "policy_head.2.bias":
                parameter.copy_(torch.tensor([1.0, 0.25, 0.5, 0.5]).log())
    assert algorithm.policy.act(np.zeros((1, 3), np.float32)).tolist() == [chosen]


def test_a_timeout_bootstraps_and_a_terminal_does_not() -> None:
    algorithm = make_algorithm()
    columns = make_columns(2)
    columns["rewards"][:] = 0.0
    columns["terminals"][:] = False
    columns["timeouts"][:] = True
    all_timeouts = algorithm.loss(to_batch(columns))[1]["value_loss"].item()
    columns["timeouts"][:] = False
    assert algorithm.loss(to_batch(columns))[1]["value_loss"].item() == all_timeouts
    columns["terminals"][:] = True
    assert algorithm.loss(to_batch(columns))[1]["value_loss"].item() != pytest.approx(all_timeouts)


def test_images_get_the_papers_hyperparameters() -> None:
    problem = ProblemSpec((4, 84, 84), "uint8", DiscreteActions(4))
    config = DiscreteBCQ.recommended(problem)
    assert (config.lr, config.batch_size, config.gamma, config.target_update_freq) == (6.25e-5, 32, 0.99, 8000)
    assert (config.unlikely_action_threshold, config.imitation_logits_penalty) == (0.3, 0.01)
    algorithm = DiscreteBCQ(problem, config, np.random.default_rng(0), CPU)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 84, 84), np.uint8)
    assert algorithm.score_actions(pixels).shape == (2, 4)


@pytest.mark.parametrize(
    "changes", [{"lr": 0.0}, {"gamma": 1.1}, {"unlikely_action_threshold": 1.0}, {"target_update_freq": 0}]
)
def test_impossible_hyperparameters_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        replace(CONFIG, **changes)
