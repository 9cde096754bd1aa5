"""IQL against NumPy in float64, with gradients and Adam written out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from batches import ELEMENTS, INPUTS, SIZE, arrays, box_batch
from slow_nets import Adam, assert_same, descend, flat, follow, in_double, member_of, mlp_of, numpy_of

from rlbuffers_train.algorithms.iql import IQL, IQLConfig
from rlbuffers_train.problem import BoxActions, ProblemSpec
from rlbuffers_train.targets import expectile_loss

CPU = torch.device("cpu")
PROBLEM = ProblemSpec((INPUTS,), "float64", BoxActions((-1.0,) * ELEMENTS, (1.0,) * ELEMENTS))
CONFIG = IQLConfig(
    hidden_sizes=(8, 6), actor_lr=0.01, critic_lr=0.02, value_lr=0.03, tau=0.1, temperature=2.0, max_weight=1.2
)


def make(config: IQLConfig = CONFIG) -> IQL:
    torch.manual_seed(0)
    return IQL(PROBLEM, config, np.random.default_rng(0), CPU)


class SlowIQL:
    def __init__(self, algorithm: IQL) -> None:
        self.config = config = algorithm.config
        self.actor, self.value = mlp_of(algorithm.actor.layers), mlp_of(algorithm.value)
        self.log_std = numpy_of(algorithm.actor.log_std).copy()
        self.critics = [member_of(algorithm.critics, number) for number in range(2)]
        self.target_critics = [member_of(algorithm.critics, number) for number in range(2)]
        self.actor_adam, self.value_adam = Adam(config.actor_lr), Adam(config.value_lr)
        self.critic_adams = [Adam(config.critic_lr) for _ in range(2)]
        self.step = 0

    def update(self, batch: dict[str, np.ndarray]) -> dict[str, float]:
        config, observations, actions = self.config, batch["observations"], batch["actions"]
        inputs = np.concatenate([observations, actions], axis=1)
        values = np.minimum(*(critic(inputs)[:, 0] for critic in self.target_critics))
        errors = values - self.value(observations)[:, 0]
        weights = np.abs(config.expectile - (errors < 0))
        losses = {"value_loss": (weights * errors**2).mean()}
        gradients, _ = self.value.gradient(observations, -2 * (weights * errors)[:, None] / SIZE)
        self.value_adam.step(flat(self.value.layers), flat(gradients))

        mean, std = np.tanh(self.actor(observations)), np.exp(self.log_std)
        standardized = (actions - mean) / std
        log_probs = (-0.5 * standardized**2 - np.log(std) - 0.5 * np.log(2 * np.pi)).sum(axis=1)
        advantages = values - self.value(observations)[:, 0]
        trust = np.minimum(np.exp(config.temperature * advantages), config.max_weight)
        losses["actor_loss"] = -(trust * log_probs).mean()
        by_mean = -trust[:, None] * standardized / std * (1 - mean**2) / SIZE
        by_log_std = (-trust[:, None] * (standardized**2 - 1)).sum(axis=0) / SIZE
        gradients, _ = self.actor.gradient(observations, by_mean)
        progress = min(self.step / config.decay_updates, 1) if config.decay_updates else 0.0
        lr = config.actor_lr * (1 + np.cos(np.pi * progress)) / 2
        self.actor_adam.step([*flat(self.actor.layers), self.log_std], [*flat(gradients), by_log_std], lr)
        self.step += 1

        targets = batch["rewards"] + batch["discounts"] * self.value(batch["next_observations"])[:, 0]
        losses["critic_loss"] = descend(self.critics, self.critic_adams, inputs, targets)
        for target, online in zip(self.target_critics, self.critics, strict=True):
            follow(target, online, config.tau)
        return losses


@pytest.mark.parametrize("decay_updates", [0, 3])
def test_updates_equal_numpy(decay_updates: int) -> None:
    algorithm = in_double(make(replace(CONFIG, decay_updates=decay_updates)))
    slow = SlowIQL(algorithm)
    for seed in range(5):
        batch = box_batch(seed)
        algorithm.num_updates += 1
        metrics = algorithm.learn(batch)
        assert {name: value.item() for name, value in metrics.items()} == pytest.approx(
            slow.update(arrays(batch)), rel=1e-6
        )
    assert_same(mlp_of(algorithm.actor.layers), slow.actor)
    np.testing.assert_allclose(numpy_of(algorithm.actor.log_std), slow.log_std, rtol=1e-7)
    assert_same(mlp_of(algorithm.value), slow.value)
    for number in range(2):
        assert_same(member_of(algorithm.critics, number), slow.critics[number])
        assert_same(member_of(algorithm.target_critics, number), slow.target_critics[number])


@pytest.mark.parametrize("expectile", [0.5, 0.7, 0.9])
def test_expectile_loss_is_least_where_weighted_errors_cancel(expectile: float) -> None:
    targets = torch.from_numpy(np.random.default_rng(0).normal(size=2001))
    guesses = torch.linspace(-3, 3, 6001, dtype=torch.float64)
    losses = torch.stack([expectile_loss(targets - guess, expectile).mean() for guess in guesses])
    best = guesses[losses.argmin()].item()
    errors = targets.numpy() - best
    balance = expectile * errors[errors > 0].sum() + (1 - expectile) * errors[errors < 0].sum()
    assert abs(balance) / len(errors) < 1e-3


def test_acts_on_the_mean() -> None:
    algorithm = make()
    observations = box_batch(0).observations.numpy().astype(np.float32)
    expected = np.tanh(mlp_of(algorithm.actor.layers)(observations.astype(float)))
    np.testing.assert_allclose(algorithm.policy.act(observations), expected, rtol=1e-4, atol=1e-6)
