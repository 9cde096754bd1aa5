"""SAC against NumPy in float64, with gradients and Adam written out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from batches import ELEMENTS, INPUTS, arrays, box_batch
from slow_nets import assert_same, in_double, member_of, mlp_of
from slow_sac import SlowSAC

from rlbuffers_train.algorithms.sac import SAC, SACConfig
from rlbuffers_train.problem import BoxActions, ProblemSpec
from rlbuffers_train.running.trainer import within_training_step

CPU = torch.device("cpu")
PROBLEM = ProblemSpec((INPUTS,), "float64", BoxActions((-1.0,) * ELEMENTS, (1.0,) * ELEMENTS))
CONFIG = SACConfig(hidden_sizes=(8, 6), actor_lr=0.01, critic_lr=0.02, alpha_lr=0.03, tau=0.1, alpha=0.5)


def make(config: SACConfig = CONFIG) -> SAC:
    torch.manual_seed(0)
    return SAC(PROBLEM, config, np.random.default_rng(0), CPU)


@pytest.mark.parametrize("alpha_lr", [0.03, 0.0])
def test_updates_equal_numpy(alpha_lr: float) -> None:
    algorithm = in_double(make(replace(CONFIG, alpha_lr=alpha_lr)))
    slow = SlowSAC(algorithm)
    for seed in range(4):
        batch = box_batch(seed)
        metrics = algorithm.learn(batch)
        assert {name: value.item() for name, value in metrics.items()} == pytest.approx(
            slow.update(arrays(batch)), rel=1e-8
        )
    assert_same(mlp_of(algorithm.actor), slow.actor)
    for number in range(2):
        assert_same(member_of(algorithm.critics, number), slow.critics[number])
        assert_same(member_of(algorithm.target_critics, number), slow.target_critics[number])


def test_log_density_is_right_where_tanh_saturates() -> None:
    algorithm = make()
    observations, noise = torch.zeros((1, INPUTS)), torch.full((1, ELEMENTS), 20.0)
    actions, log_probs = algorithm.actor.sample(observations, noise)
    assert (actions == 1.0).all()  # in float32 the slope of tanh is 0 here and its logarithm -inf
    mean, log_std = (value.detach().double().numpy() for value in algorithm.actor(observations))
    latent = mean + np.exp(log_std) * 20.0
    log_slope = np.log(4.0) - 2 * latent - 2 * np.log1p(np.exp(-2 * latent))  # log(1 - tanh^2)
    expected = (-200.0 - log_std - 0.5 * np.log(2 * np.pi) - log_slope).sum()
    assert log_probs.item() == pytest.approx(expected, rel=1e-5)


def test_sampling_follows_the_flag() -> None:
    policy = make().policy
    policy.eps_training = 0.0
    observations = np.ones((200, INPUTS), np.float32)
    assert np.ptp(policy.act(observations), axis=0).max() < 1e-6
    with within_training_step(policy):
        assert policy.act(observations).std(axis=0).min() > 0.1
