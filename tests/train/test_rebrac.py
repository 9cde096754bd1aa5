"""ReBRAC against NumPy in float64, with gradients and Adam written out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from batches import ELEMENTS, INPUTS, SIZE, arrays, box_batch, followed_batch
from slow_nets import Adam, SeededNoise, assert_same, flat, follow, in_double, member_of, mlp_of

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


class SlowReBRAC:
    def __init__(self, algorithm: ReBRAC) -> None:
        self.config = algorithm.config
        self.actor, self.target_actor = mlp_of(algorithm.actor), mlp_of(algorithm.actor)
        self.critics = [member_of(algorithm.critics, number) for number in range(2)]
        self.target_critics = [member_of(algorithm.critics, number) for number in range(2)]
        self.actor_adam = Adam(self.config.actor_lr)
        self.critic_adams = [Adam(self.config.critic_lr) for _ in range(2)]
        self.noise = SeededNoise(0)
        self.step = 0

    def update(self, batch: dict[str, np.ndarray]) -> dict[str, float]:
        self.step += 1
        config = self.config
        noise = np.clip(
            config.policy_noise * self.noise.normal_array(SIZE, ELEMENTS), -config.noise_clip, config.noise_clip
        )
        next_actions = np.clip(np.tanh(self.target_actor(batch["next_observations"])) + noise, -1, 1)
        following = np.concatenate([batch["next_observations"], next_actions], axis=1)
        next_values = np.minimum(*(critic(following)[:, 0] for critic in self.target_critics))
        for row in range(SIZE):
            if batch["next_action_known"][row]:
                distance = ((next_actions[row] - batch["next_actions"][row]) ** 2).sum()
                next_values[row] -= config.critic_bc_coef * distance
        targets = batch["rewards"] + batch["discounts"] * next_values
        inputs = np.concatenate([batch["observations"], batch["actions"]], axis=1)
        losses = {"critic_loss": 0.0}
        for critic, adam in zip(self.critics, self.critic_adams, strict=True):
            errors = critic(inputs)[:, 0] - targets
            losses["critic_loss"] += (errors**2).mean()
            gradients, _ = critic.gradient(inputs, 2 * errors[:, None] / SIZE)
            adam.step(flat(critic.layers), flat(gradients))
        if self.step % config.actor_update_freq == 0:
            losses["actor_loss"] = self._update_actor(batch)
            follow(self.target_actor, self.actor, config.tau)
            for target, online in zip(self.target_critics, self.critics, strict=True):
                follow(target, online, config.tau)
        return losses

    def _update_actor(self, batch: dict[str, np.ndarray]) -> float:
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
        gradients, _ = self.actor.gradient(batch["observations"], slope * (1 - actions**2))
        self.actor_adam.step(flat(self.actor.layers), flat(gradients))
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
    assert_same(mlp_of(algorithm.actor), slow.actor)
    assert_same(mlp_of(algorithm.target_actor), slow.target_actor)
    for number in range(2):
        assert_same(member_of(algorithm.critics, number), slow.critics[number])
        assert_same(member_of(algorithm.target_critics, number), slow.target_critics[number])


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
