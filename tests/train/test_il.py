"""Behavior cloning of both kinds of action against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from batches import ACTIONS, ELEMENTS, INPUTS, SIZE, arrays, box_batch, discrete_batch
from slow_nets import Adam, assert_same, flat, in_double, mlp_of, softmax

from rlbuffers_train.algorithms.il_continuous import ContinuousIL, ContinuousILConfig
from rlbuffers_train.algorithms.il_discrete import DiscreteIL, DiscreteILConfig
from rlbuffers_train.problem import BoxActions, DiscreteActions, ProblemSpec

CPU = torch.device("cpu")
BOX = ProblemSpec((INPUTS,), "float64", BoxActions((-1.0,) * ELEMENTS, (1.0,) * ELEMENTS))
DISCRETE = ProblemSpec((INPUTS,), "float64", DiscreteActions(ACTIONS))


def test_discrete_updates_equal_numpy() -> None:
    torch.manual_seed(0)
    config = DiscreteILConfig(lr=0.01, adam_eps=1e-4, hidden_sizes=(8, 6))
    algorithm = in_double(DiscreteIL(DISCRETE, config, np.random.default_rng(0), CPU))
    slow, adam = mlp_of(algorithm.network), Adam(0.01, 1e-4)
    for seed in range(4):
        batch = discrete_batch(seed)
        values = arrays(batch)
        probabilities = softmax(slow(values["observations"]))
        chosen = np.eye(ACTIONS)[values["actions"]]
        expected = {
            "loss": -(chosen * np.log(probabilities)).sum() / SIZE,
            "accuracy": (probabilities.argmax(axis=1) == values["actions"]).mean(),
        }
        gradients, _ = slow.gradient(values["observations"], (probabilities - chosen) / SIZE)
        adam.step(flat(slow.layers), flat(gradients))
        metrics = algorithm.learn(batch)
        assert {name: value.item() for name, value in metrics.items()} == pytest.approx(expected, rel=1e-7)
    assert_same(mlp_of(algorithm.network), slow)
    observations = discrete_batch(9).observations
    expected_actions = slow(observations.numpy()).argmax(axis=1)
    np.testing.assert_array_equal(algorithm.action_scores(observations).argmax(dim=1).numpy(), expected_actions)


def test_continuous_updates_equal_numpy() -> None:
    torch.manual_seed(0)
    config = ContinuousILConfig(actor_lr=0.01, hidden_sizes=(8, 6))
    algorithm = in_double(ContinuousIL(BOX, config, np.random.default_rng(0), CPU))
    slow, adam = mlp_of(algorithm.actor), Adam(0.01)
    for seed in range(4):
        batch = box_batch(seed)
        values = arrays(batch)
        actions = np.tanh(slow(values["observations"]))
        distance = actions - values["actions"]
        gradients, _ = slow.gradient(values["observations"], 2 * distance / distance.size * (1 - actions**2))
        adam.step(flat(slow.layers), flat(gradients))
        assert algorithm.learn(batch)["loss"].item() == pytest.approx((distance**2).mean(), rel=1e-9)
    assert_same(mlp_of(algorithm.actor), slow)
