"""ReBRAC against NumPy in float64, with gradients and Adam written out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from batches import ELEMENTS, INPUTS, SIZE, arrays, box_batch, followed_batch
from slow_nets import in_double
from slow_td3 import SlowTD3

from rlbuffers.errors import UsageError
from rlbuffers_train.algorithms.rebrac import ReBRAC, ReBRACConfig
from rlbuffers_train.problem import BoxActions, ProblemSpec

PROBLEM = ProblemSpec((INPUTS,), "float64", BoxActions((-1.0,) * ELEMENTS, (1.0,) * ELEMENTS))
CONFIG = ReBRACConfig(
    hidden_sizes=(8, 6),
    actor_lr=0.01,
    critic_lr=0.02,
    tau=0.1,
    actor_bc_coef=0.4,
    critic_bc_coef=0.3,
    critic_layer_norm=False,
    policy_noise=1.0,
)


def make(config: ReBRACConfig = CONFIG, problem: ProblemSpec = PROBLEM) -> ReBRAC:
    torch.manual_seed(0)
    return ReBRAC(problem, config, np.random.default_rng(0), torch.device("cpu"))


class SlowReBRAC(SlowTD3):
    def next_values(self, batch: dict[str, np.ndarray], noisy_actions: np.ndarray) -> np.ndarray:
        next_actions = np.clip(noisy_actions, -1, 1)
        values = self.lower_target(batch, next_actions)
        for row in range(SIZE):
            if batch["next_action_known"][row]:
                distance = ((next_actions[row] - batch["next_actions"][row]) ** 2).sum()
                values[row] -= self.config.critic_bc_coef * distance
        return values

    def update_actor(self, batch: dict[str, np.ndarray]) -> float:
        actions = np.tanh(self.actor(batch["observations"]))
        inputs = np.concatenate([batch["observations"], actions], axis=1)
        both = np.stack([critic(inputs)[:, 0] for critic in self.critics])
        values, lower = both.min(axis=0), both.argmin(axis=0)
        weight = 1 / np.abs(values).mean()
        distance = actions - batch["actions"]
        slope = self.config.actor_bc_coef * 2 * distance / SIZE
        for number, critic in enumerate(self.critics):
            chosen = np.where(lower == number, -weight / SIZE, 0.0)[:, None]
            slope += critic.gradient(inputs, chosen)[1][:, INPUTS:]
        self.descend_actor(batch, actions, slope)
        return (self.config.actor_bc_coef * (distance**2).sum(axis=1) - weight * values).mean()


def test_updates_equal_numpy() -> None:
    algorithm = in_double(make())
    slow = SlowReBRAC(algorithm)
    for seed in range(6):
        batch = followed_batch(seed)
        algorithm.num_updates += 1
        metrics = algorithm.learn(batch)
        expected = slow.update(arrays(batch))
        assert {name: value.item() for name, value in metrics.items()} == pytest.approx(expected, rel=1e-9)
    slow.assert_same_weights(algorithm)


def test_hidden_layers_of_critics_are_normalized_after_their_relu() -> None:
    algorithm = make(replace(CONFIG, critic_layer_norm=True))
    batch = followed_batch(1).map(torch.Tensor.float)
    inputs = torch.cat([batch.observations, batch.actions], dim=1)
    found = algorithm.critics(batch.observations, batch.actions)
    for number in range(2):
        hidden = inputs
        for layer in algorithm.critics.hidden:
            hidden = torch.relu(hidden @ layer.weight[number] + layer.bias[number])
            centered = hidden - hidden.mean(dim=1, keepdim=True)
            hidden = centered / (centered.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()
        last = algorithm.critics.last
        expected = (hidden @ last.weight[number] + last.bias[number]).squeeze(1)
        torch.testing.assert_close(found[number], expected, rtol=1e-4, atol=1e-5)


def test_what_followed_is_scaled_like_actions() -> None:
    narrow, wide = make(), make(problem=replace(PROBLEM, actions=BoxActions((-2.0, 0.0), (2.0, 10.0))))
    batch = followed_batch(4).map(torch.Tensor.float)
    scale, shift = torch.tensor([2.0, 5.0]), torch.tensor([0.0, 5.0])
    stretched = batch._replace(actions=batch.actions * scale + shift, next_actions=batch.next_actions * scale + shift)
    for _ in range(2):
        expected = {name: value.item() for name, value in narrow.update(batch).items()}
        assert {name: value.item() for name, value in wide.update(stretched).items()} == pytest.approx(
            expected, rel=1e-5
        )


def test_next_actions_are_needed() -> None:
    with pytest.raises(UsageError, match="rebrac needs batches with next actions"):
        make().update(box_batch(0).map(torch.Tensor.float))
    with pytest.raises(UsageError, match="n_step 3 must be 1"):
        make(replace(CONFIG, n_step=3))
