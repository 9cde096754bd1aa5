"""Discrete CRR against NumPy in float64, with gradients and Adam written out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from batches import ACTIONS, INPUTS, SIZE, arrays, discrete_batch
from slow_nets import Adam, Mlp, assert_same, flat, in_double, mlp_of, softmax

from rlbuffers.errors import UsageError
from rlbuffers_train.algorithms.crr_discrete import DiscreteCRR, DiscreteCRRConfig
from rlbuffers_train.problem import DiscreteActions, ProblemSpec

CPU = torch.device("cpu")
PROBLEM = ProblemSpec((INPUTS,), "float64", DiscreteActions(ACTIONS))
CONFIG = DiscreteCRRConfig(lr=0.01, adam_eps=1e-4, hidden_sizes=(8, 6), target_update_freq=2, beta=0.5, max_weight=1.1)


def make(config: DiscreteCRRConfig = CONFIG) -> DiscreteCRR:
    torch.manual_seed(0)
    return DiscreteCRR(PROBLEM, config, np.random.default_rng(0), CPU)


class SlowCRR:
    def __init__(self, algorithm: DiscreteCRR) -> None:
        self.config = algorithm.config
        self.critic, self.actor = mlp_of(algorithm.network.value_head), mlp_of(algorithm.network.policy_head)
        self.target_critic, self.target_actor = Mlp(self.critic.layers), Mlp(self.actor.layers)
        self.adams = [Adam(self.config.lr, self.config.adam_eps) for _ in range(2)]
        self.step = 0

    def update(self, batch: dict[str, np.ndarray]) -> dict[str, float]:
        config, observations = self.config, batch["observations"]
        values, logits = self.critic(observations), self.actor(observations)
        next_values = self.target_critic(batch["next_observations"])
        next_shares = softmax(self.target_actor(batch["next_observations"]))
        value_slope, logit_slope = np.zeros_like(values), np.zeros_like(logits)
        losses = dict.fromkeys(("actor_loss", "critic_loss", "gap", "mean_weight"), 0.0)
        for row, action in enumerate(batch["actions"]):
            target = batch["rewards"][row] + batch["discounts"][row] * (next_shares[row] @ next_values[row])
            error = values[row, action] - target
            shares = softmax(logits[row])
            advantage = values[row, action] - shares @ values[row]
            weight = float(advantage > 0)
            if config.advantage == "exp":
                weight = min(np.exp(advantage / config.beta), config.max_weight)
            chosen = np.eye(ACTIONS)[action]
            losses["critic_loss"] += 0.5 * error**2 / SIZE
            losses["actor_loss"] += -weight * np.log(shares[action]) / SIZE
            losses["gap"] += (np.log(np.exp(values[row]).sum()) - values[row, action]) / SIZE
            losses["mean_weight"] += weight / SIZE
            # The weight is a constant: the actor's loss moves the logits only.
            logit_slope[row] = weight * (shares - chosen) / SIZE
            value_slope[row] = (error * chosen + config.min_q_weight * (softmax(values[row]) - chosen)) / SIZE
        for network, adam, slope in zip((self.critic, self.actor), self.adams, (value_slope, logit_slope), strict=True):
            adam.step(flat(network.layers), flat(network.gradient(observations, slope)[0]))
        self.step += 1
        if self.step % config.target_update_freq == 0:
            self.target_critic, self.target_actor = Mlp(self.critic.layers), Mlp(self.actor.layers)
        loss = losses["actor_loss"] + losses["critic_loss"] + config.min_q_weight * losses["gap"]
        return {"loss": loss, **losses}


@pytest.mark.parametrize(
    "changes", [{}, {"advantage": "binary"}, {"min_q_weight": 0.6}, {"beta": 10.0, "max_weight": 20.0}], ids=str
)
def test_updates_equal_numpy(changes: dict[str, Any]) -> None:
    algorithm = in_double(make(replace(CONFIG, **changes)))
    slow = SlowCRR(algorithm)
    for seed in range(5):
        batch = discrete_batch(seed)
        algorithm.num_updates += 1
        metrics = algorithm.learn(batch)
        assert {name: value.item() for name, value in metrics.items()} == pytest.approx(
            slow.update(arrays(batch)), rel=1e-6
        )
    assert_same(mlp_of(algorithm.network.value_head), slow.critic)
    assert_same(mlp_of(algorithm.network.policy_head), slow.actor)
    assert_same(mlp_of(algorithm.target_network.value_head), slow.target_critic)


def test_the_actors_loss_does_not_move_the_critic() -> None:
    algorithm = make(replace(CONFIG, beta=1.0, max_weight=1e9))
    batch = discrete_batch(0)
    batch = batch._replace(observations=batch.observations.float(), next_observations=batch.next_observations.float())
    _, parts = algorithm.loss(batch)
    parts["actor_loss"].backward()
    assert all(parameter.grad is None for parameter in algorithm.network.value_head.parameters())
    assert any(parameter.grad.abs().sum() > 0 for parameter in algorithm.network.policy_head.parameters())


def test_acts_on_the_mode_or_draws_where_asked() -> None:
    observations = np.ones((4000, INPUTS), np.float32)
    algorithm = make()
    logits = mlp_of(algorithm.network.policy_head)(observations[:1].astype(float))[0]
    assert set(algorithm.policy.act(observations)) == {int(logits.argmax())}
    drawn = make(replace(CONFIG, samples_inference=True)).policy.act(observations)
    np.testing.assert_allclose(np.bincount(drawn, minlength=ACTIONS) / 4000, softmax(logits), atol=0.04)


def test_an_unknown_kind_of_advantage_is_refused() -> None:
    with pytest.raises(UsageError, match="--advantage: expected one of exp, binary, got 'all'"):
        replace(CONFIG, advantage="all")
