"""Continuous CQL against NumPy in float64, with gradients and Adam written out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from batches import ELEMENTS, INPUTS, SIZE, arrays, box_batch
from slow_nets import Adam, assert_same, flat, in_double, member_of, mlp_of, softmax
from slow_sac import SlowSAC

from rlbuffers_train.algorithms.cql_continuous import ContinuousCQL, ContinuousCQLConfig
from rlbuffers_train.problem import BoxActions, ProblemSpec

CPU = torch.device("cpu")
PROBLEM = ProblemSpec((INPUTS,), "float64", BoxActions((-1.0,) * ELEMENTS, (1.0,) * ELEMENTS))
CONFIG = ContinuousCQLConfig(
    hidden_sizes=(8, 6),
    actor_lr=0.01,
    critic_lr=0.02,
    alpha_lr=0.03,
    lagrange_lr=0.04,
    lagrange_threshold=2.0,
    tau=0.1,
    num_sampled_actions=3,
)


def make(config: ContinuousCQLConfig = CONFIG) -> ContinuousCQL:
    torch.manual_seed(0)
    return in_double(ContinuousCQL(PROBLEM, config, np.random.default_rng(0), CPU))


class SlowCQL(SlowSAC):
    def __init__(self, algorithm: Any) -> None:
        super().__init__(algorithm)
        self.log_multiplier = np.array(0.0)
        self.multiplier_adam = Adam(self.config.lagrange_lr)

    def update(self, batch: dict[str, np.ndarray]) -> dict[str, float]:
        config, count = self.config, self.config.num_sampled_actions
        losses = self.update_actor(batch)
        targets = self.targets(batch, config.backs_up_entropy)
        log_uniform = np.full(SIZE, np.log(0.5**ELEMENTS))
        uniform = [(one, log_uniform) for one in self.noise.uniform_array(count, SIZE, ELEMENTS)]
        kinds = []
        for observations in (batch["observations"], batch["next_observations"]):
            noise = self.noise.normal_array(count, SIZE, ELEMENTS)
            kinds.append([self.sample(observations, one) for one in noise])
        samples = [pair for kind in (uniform, *kinds) for pair in kind]
        inputs = np.concatenate([batch["observations"], batch["actions"]], axis=1)
        errors, gaps, shares = [], [], []
        for critic in self.critics:
            values = critic(inputs)[:, 0]
            weighted = np.stack(
                [
                    critic(np.concatenate([batch["observations"], actions], axis=1))[:, 0] - log_density
                    for actions, log_density in samples
                ]
            )
            errors.append(values - targets)
            gaps.append((np.log(np.exp(weighted).sum(axis=0)) - values).mean())
            shares.append(softmax(weighted.T).T)  # (3 n, B): slope of the log of the sum
        factor = 1.0
        penalties = [config.min_q_weight * gap for gap in gaps]
        if config.with_lagrange:
            factor = float(np.exp(self.log_multiplier))
            losses["multiplier"] = factor
            penalties = [factor * (penalty - config.lagrange_threshold) for penalty in penalties]
            self.multiplier_adam.step([self.log_multiplier], [-np.mean(penalties)])
        for number, (critic, adam) in enumerate(zip(self.critics, self.critic_adams, strict=True)):
            weight = factor * config.min_q_weight / SIZE
            slope = (2 * errors[number] / SIZE - weight)[:, None]
            gradient = flat(critic.gradient(inputs, slope)[0])
            for (actions, _), share in zip(samples, shares[number], strict=True):
                sampled = np.concatenate([batch["observations"], actions], axis=1)
                more = flat(critic.gradient(sampled, weight * share[:, None])[0])
                gradient = [mine + other for mine, other in zip(gradient, more, strict=True)]
            if config.max_grad_norm:
                norm = np.sqrt(sum((part**2).sum() for part in gradient))
                gradient = [part * min(1.0, config.max_grad_norm / (norm + 1e-6)) for part in gradient]
            adam.step(flat(critic.layers), gradient)
        self.follow()
        losses["critic_loss"] = sum((error**2).mean() for error in errors) + sum(penalties)
        return {**losses, "gap": np.mean(gaps)}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"backs_up_entropy": True},
        {"with_lagrange": True},
        {"with_lagrange": True, "max_grad_norm": 0.5, "min_q_weight": 1.0},
    ],
    ids=str,
)
def test_updates_equal_numpy(changes: dict[str, Any]) -> None:
    algorithm = make(replace(CONFIG, **changes))
    slow = SlowCQL(algorithm)
    for seed in range(3):
        batch = box_batch(seed)
        metrics = algorithm.learn(batch)
        assert {name: value.item() for name, value in metrics.items()} == pytest.approx(
            slow.update(arrays(batch)), rel=1e-8
        )
    assert_same(mlp_of(algorithm.actor), slow.actor)
    assert algorithm.multiplier.log.item() == pytest.approx(float(slow.log_multiplier), rel=1e-7)
    for number in range(2):
        assert_same(member_of(algorithm.critics, number), slow.critics[number])
        assert_same(member_of(algorithm.target_critics, number), slow.target_critics[number])


def test_values_of_the_data_rise_above_those_of_other_actions() -> None:
    torch.manual_seed(0)
    algorithm = ContinuousCQL(PROBLEM, replace(CONFIG, min_q_weight=10.0), np.random.default_rng(0), CPU)
    batch = box_batch(0)
    batch = batch.map(torch.Tensor.float)
    gaps = [algorithm.update(batch)["gap"].item() for _ in range(150)]
    assert gaps[-1] < gaps[0] - 1.0
