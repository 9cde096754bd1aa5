"""TD3+BC against NumPy in float64, with gradients and Adam written out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from batches import ELEMENTS, INPUTS, SIZE, arrays, box_batch
from slow_nets import in_double
from slow_td3 import SlowTD3

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


class SlowTD3BC(SlowTD3):
    def next_values(self, batch: dict[str, np.ndarray], noisy_actions: np.ndarray) -> np.ndarray:
        clipped = np.clip(noisy_actions, -1, 1) if self.config.clips_target_actions else noisy_actions
        return self.lower_target(batch, clipped)

    def update_actor(self, batch: dict[str, np.ndarray]) -> float:
        actions = np.tanh(self.actor(batch["observations"]))
        inputs = np.concatenate([batch["observations"], actions], axis=1)
        values = self.critics[0](inputs)[:, 0]
        weight = self.config.alpha / np.abs(values).mean()
        distance = actions - batch["actions"]
        _, slope = self.critics[0].gradient(inputs, np.full((SIZE, 1), -weight / SIZE))
        self.descend_actor(batch, actions, slope[:, INPUTS:] + 2 * distance / distance.size)
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
    slow.assert_same_weights(algorithm)


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
