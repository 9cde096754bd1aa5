"""TD3+BC against NumPy in float64, with gradients and Adam written out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from batches import ELEMENTS, INPUTS, SIZE, arrays, box_batch
from slow_nets import Adam, Mlp, SeededNoise, assert_same, flat, follow, in_double, member_of, mlp_of

from rlbuffers.errors import UsageError
from rlbuffers_train.algorithms.td3_bc import TD3BC, TD3BCConfig
from rlbuffers_train.batch import TransitionBatch
from rlbuffers_train.problem import BoxActions, ObservationStatistics, ProblemSpec

CPU = torch.device("cpu")
PROBLEM = ProblemSpec((INPUTS,), "float64", BoxActions((-1.0,) * ELEMENTS, (1.0,) * ELEMENTS))
CONFIG = TD3BCConfig(norm_obs=False, hidden_sizes=(8, 6), actor_lr=0.01, critic_lr=0.02, tau=0.1)


def make(config: TD3BCConfig = CONFIG, problem: ProblemSpec = PROBLEM) -> TD3BC:
    torch.manual_seed(0)
    return in_double(TD3BC(problem, config, np.random.default_rng(0), CPU))


def make_single(config: TD3BCConfig = CONFIG, problem: ProblemSpec = PROBLEM) -> TD3BC:
    torch.manual_seed(0)
    return TD3BC(problem, config, np.random.default_rng(0), CPU)


def single_batch(seed: int) -> TransitionBatch:
    batch = box_batch(seed)
    return batch.map(torch.Tensor.float)


class SlowTD3BC:
    def __init__(self, algorithm: TD3BC) -> None:
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
        next_actions = np.tanh(self.target_actor(batch["next_observations"])) + noise
        if config.clips_target_actions:
            next_actions = np.clip(next_actions, -1, 1)
        following = np.concatenate([batch["next_observations"], next_actions], axis=1)
        next_values = np.minimum(*(critic(following)[:, 0] for critic in self.target_critics))
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
            for target, online in [
                (self.target_actor, self.actor),
                *zip(self.target_critics, self.critics, strict=True),
            ]:
                follow(target, online, config.tau)
        return losses

    def _update_actor(self, batch: dict[str, np.ndarray]) -> float:
        actions = np.tanh(self.actor(batch["observations"]))
        inputs = np.concatenate([batch["observations"], actions], axis=1)
        values = self.critics[0](inputs)[:, 0]
        weight = self.config.alpha / np.abs(values).mean()
        distance = actions - batch["actions"]
        _, slope = self.critics[0].gradient(inputs, np.full((SIZE, 1), -weight / SIZE))
        slope = slope[:, INPUTS:] + 2 * distance / distance.size
        gradients, _ = self.actor.gradient(batch["observations"], slope * (1 - actions**2))
        self.actor_adam.step(flat(self.actor.layers), flat(gradients))
        return -weight * values.mean() + (distance**2).mean()


@pytest.mark.parametrize("clips", [True, False])
def test_updates_equal_numpy(clips: bool) -> None:
    algorithm = make(replace(CONFIG, clips_target_actions=clips, policy_noise=1.0))
    slow = SlowTD3BC(algorithm)
    for seed in range(5):
        batch = box_batch(seed)
        algorithm.num_updates += 1
        metrics = algorithm.learn(batch)
        expected = slow.update(arrays(batch))
        assert {name: value.item() for name, value in metrics.items()} == pytest.approx(expected, rel=1e-9)
    pairs: list[tuple[Mlp, Mlp]] = [
        (mlp_of(algorithm.actor), slow.actor),
        (mlp_of(algorithm.target_actor), slow.target_actor),
    ]
    for number in range(2):
        pairs.append((member_of(algorithm.critics, number), slow.critics[number]))
        pairs.append((member_of(algorithm.target_critics, number), slow.target_critics[number]))
    for found, expected_weights in pairs:
        assert_same(found, expected_weights)


def test_noisy_target_actions_stay_within_the_bounds() -> None:
    losses = []
    for clips in (True, False):
        algorithm = make(replace(CONFIG, clips_target_actions=clips, policy_noise=5.0, noise_clip=5.0))
        losses.append(algorithm.critic_loss(box_batch(1)).item())
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


def test_observations_are_standardized_in_training_and_in_acting() -> None:
    statistics = ObservationStatistics((1.0, -2.0, 0.5), (2.0, 0.1, 3.0))
    plain, scaled = make_single(), make_single(replace(CONFIG, norm_obs=True), replace(PROBLEM, statistics=statistics))
    mean, spread = torch.tensor(statistics.mean), torch.tensor(statistics.std) + 1e-3
    batch = single_batch(3)
    standardized = batch._replace(
        observations=(batch.observations - mean) / spread,
        next_observations=(batch.next_observations - mean) / spread,
    )
    expected = plain.update(standardized)["critic_loss"].item()
    assert scaled.update(batch)["critic_loss"].item() == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(
        scaled.policy.act(batch.observations.numpy()), plain.policy.act(standardized.observations.numpy()), rtol=1e-4
    )


def test_without_statistics_there_is_one_line() -> None:
    with pytest.raises(UsageError, match="pass --norm-obs 0"):
        make(replace(CONFIG, norm_obs=True))


def test_actions_are_scaled_by_the_bounds_of_the_task() -> None:
    wide_problem = replace(PROBLEM, actions=BoxActions((-2.0, 0.0), (2.0, 10.0)))
    narrow, wide = make_single(), make_single(problem=wide_problem)
    batch = single_batch(4)
    stretched = batch._replace(actions=batch.actions * torch.tensor([2.0, 5.0]) + torch.tensor([0.0, 5.0]))
    for _ in range(2):
        expected = {name: value.item() for name, value in narrow.update(batch).items()}
        found = {name: value.item() for name, value in wide.update(stretched).items()}
        assert found == pytest.approx(expected, rel=1e-5)
    observations = batch.observations.numpy()
    np.testing.assert_allclose(
        wide.policy.act(observations), narrow.policy.act(observations) * [2, 5] + [0, 5], rtol=1e-4
    )
