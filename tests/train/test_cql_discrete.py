"""Discrete CQL against NumPy in float64, with gradients and Adam written out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from batches import ACTIONS, INPUTS, SIZE, arrays, discrete_batch
from slow_nets import Adam, Mlp, assert_same, flat, in_double, mlp_of, softmax

from rlbuffers_train.algorithms.cql_discrete import DiscreteCQL, DiscreteCQLConfig
from rlbuffers_train.algorithms.qrdqn import QRDQN, QRDQNConfig
from rlbuffers_train.problem import DiscreteActions, ProblemSpec

CPU = torch.device("cpu")
QUANTILES = 5
PROBLEM = ProblemSpec((INPUTS,), "float64", DiscreteActions(ACTIONS))
CONFIG = DiscreteCQLConfig(
    lr=0.01, adam_eps=1e-4, hidden_sizes=(8, 6), num_quantiles=QUANTILES, target_update_freq=2, min_q_weight=0.7
)


def make(config: DiscreteCQLConfig = CONFIG) -> DiscreteCQL:
    torch.manual_seed(0)
    algorithm = in_double(DiscreteCQL(PROBLEM, config, np.random.default_rng(0), CPU))
    algorithm._midpoints = algorithm._midpoints.double()
    return algorithm


def slow_update(online: Mlp, target: Mlp, batch: dict[str, np.ndarray], config: DiscreteCQLConfig) -> tuple:
    """Return losses and gradients by loops."""
    shape = (SIZE, ACTIONS, QUANTILES)
    quantiles = online(batch["observations"]).reshape(shape)
    following = target(batch["next_observations"]).reshape(shape)
    judge = online(batch["next_observations"]).reshape(shape) if config.double_q else following
    slope = np.zeros(shape)
    quantile_loss = gap = 0.0
    for row, action in enumerate(batch["actions"]):
        best = judge[row].mean(axis=1).argmax()
        targets = batch["rewards"][row] + batch["discounts"][row] * following[row, best]
        for i in range(QUANTILES):
            tau = (2 * i + 1) / (2 * QUANTILES)
            for y in targets:
                u = y - quantiles[row, action, i]
                weight = abs(tau - (u < 0)) / QUANTILES / SIZE
                quantile_loss += weight * (0.5 * u * u if abs(u) <= 1 else abs(u) - 0.5)
                slope[row, action, i] -= weight * np.clip(u, -1, 1)
        values = quantiles[row].mean(axis=1)
        gap += (np.log(np.exp(values).sum()) - values[action]) / SIZE
        share = softmax(values) - np.eye(ACTIONS)[action]
        slope[row] += config.min_q_weight * share[:, None] / QUANTILES / SIZE
    loss = quantile_loss + config.min_q_weight * gap
    return loss, quantile_loss, gap, online.gradient(batch["observations"], slope.reshape(SIZE, -1))[0]


@pytest.mark.parametrize("double_q", [False, True])
def test_updates_equal_numpy(double_q: bool) -> None:
    config = replace(CONFIG, double_q=double_q)
    algorithm = make(config)
    online, target, adam = mlp_of(algorithm.network), mlp_of(algorithm.network), Adam(0.01, 1e-4)
    for step in range(1, 6):
        batch = discrete_batch(step)
        loss, quantile_loss, gap, gradients = slow_update(online, target, arrays(batch), config)
        adam.step(flat(online.layers), flat(gradients))
        if step % 2 == 0:
            target = Mlp(online.layers)
        algorithm.num_updates += 1
        metrics = algorithm.learn(batch)
        assert metrics["loss"].item() == pytest.approx(loss, rel=1e-6)
        assert metrics["quantile_loss"].item() == pytest.approx(quantile_loss, rel=1e-6)
        assert metrics["gap"].item() == pytest.approx(gap, rel=1e-6)
    assert_same(mlp_of(algorithm.network), online)
    assert_same(mlp_of(algorithm.target_network), target)


def test_without_the_weight_it_is_qrdqn() -> None:
    torch.manual_seed(0)
    values = {name: value for name, value in CONFIG.to_json().items() if name != "min_q_weight"}
    plain = in_double(QRDQN(PROBLEM, QRDQNConfig(**values), np.random.default_rng(0), CPU))
    plain._midpoints = plain._midpoints.double()
    batch = discrete_batch(1)
    assert make(replace(CONFIG, min_q_weight=0.0)).loss(batch)[0].item() == plain.loss(batch)[0].item()


def test_images_get_the_authors_hyperparameters() -> None:
    config = DiscreteCQL.recommended(ProblemSpec((4, 84, 84), "uint8", DiscreteActions(6)))
    assert (config.lr, config.adam_eps, config.target_update_freq) == (5e-5, 0.0003125, 2000)
    assert (config.num_quantiles, config.min_q_weight, config.batch_size) == (200, 1.0, 32)
    reference = DiscreteCQL.presets["tianshou"]
    assert (reference.lr, reference.min_q_weight, reference.target_update_freq) == (1e-4, 10.0, 500)
