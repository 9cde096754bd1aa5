"""Continuous BCQ against NumPy in float64, with gradients and Adam written out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from batches import ELEMENTS, INPUTS, SIZE, arrays, box_batch
from slow_nets import Adam, SeededNoise, assert_same, descend, flat, follow, in_double, member_of, mlp_of

from rlbuffers_train.algorithms.bcq_continuous import ContinuousBCQ, ContinuousBCQConfig
from rlbuffers_train.problem import BoxActions, ProblemSpec

CPU = torch.device("cpu")
LATENT = 2 * ELEMENTS
PROBLEM = ProblemSpec((INPUTS,), "float64", BoxActions((-1.0,) * ELEMENTS, (1.0,) * ELEMENTS))
CONFIG = ContinuousBCQConfig(
    hidden_sizes=(8, 6),
    vae_hidden_sizes=(7,),
    actor_lr=0.01,
    critic_lr=0.02,
    vae_lr=0.03,
    tau=0.1,
    max_perturbation=0.3,
    num_target_actions=3,
    num_act_actions=4,
)


def make(config: ContinuousBCQConfig = CONFIG) -> ContinuousBCQ:
    torch.manual_seed(0)
    return ContinuousBCQ(PROBLEM, config, np.random.default_rng(0), CPU)


class SlowBCQ:
    def __init__(self, algorithm: ContinuousBCQ) -> None:
        self.config = config = algorithm.config
        self.encoder, self.decoder = mlp_of(algorithm.vae.encoder), mlp_of(algorithm.vae.decoder)
        self.perturbation, self.target_perturbation = mlp_of(algorithm.perturbation), mlp_of(algorithm.perturbation)
        self.critics = [member_of(algorithm.critics, number) for number in range(2)]
        self.target_critics = [member_of(algorithm.critics, number) for number in range(2)]
        self.vae_adam, self.actor_adam = Adam(config.vae_lr), Adam(config.actor_lr)
        self.critic_adams = [Adam(config.critic_lr) for _ in range(2)]
        self.noise = SeededNoise(0)

    def update(self, batch: dict[str, np.ndarray]) -> dict[str, float]:
        losses = {
            "vae_loss": self._update_vae(batch),
            "critic_loss": self._update_critics(batch),
            "actor_loss": self._update_actor(batch),
        }
        follow(self.target_perturbation, self.perturbation, self.config.tau)
        for target, online in zip(self.target_critics, self.critics, strict=True):
            follow(target, online, self.config.tau)
        return losses

    def _update_vae(self, batch: dict[str, np.ndarray]) -> float:
        observations, actions = batch["observations"], batch["actions"]
        inputs = np.concatenate([observations, actions], axis=1)
        outputs = self.encoder(inputs)
        mean, log_std = outputs[:, :LATENT], np.clip(outputs[:, LATENT:], -4, 15)
        std = np.exp(log_std)
        noise = self.noise.normal_array(SIZE, LATENT)
        latents = np.concatenate([observations, mean + std * noise], axis=1)
        rebuilt = np.tanh(self.decoder(latents))
        divergence = (-np.log(std) + (std**2 + mean**2 - 1) / 2).mean()
        loss = ((rebuilt - actions) ** 2).mean() + self.config.kl_weight * divergence
        slope = 2 * (rebuilt - actions) / actions.size * (1 - rebuilt**2)
        decoder_gradient, slope = self.decoder.gradient(latents, slope)
        slope = slope[:, INPUTS:]
        share = self.config.kl_weight / mean.size
        by_mean = slope + share * mean
        by_log_std = slope * noise * std + share * (std**2 - 1)
        encoder_gradient, _ = self.encoder.gradient(inputs, np.concatenate([by_mean, by_log_std], axis=1))
        self.vae_adam.step(
            flat(self.encoder.layers) + flat(self.decoder.layers), flat(encoder_gradient) + flat(decoder_gradient)
        )
        return loss

    def _generate(self, observations: np.ndarray, noise: np.ndarray) -> np.ndarray:
        return np.tanh(self.decoder(np.concatenate([observations, np.clip(noise, -0.5, 0.5)], axis=1)))

    def _update_critics(self, batch: dict[str, np.ndarray]) -> float:
        config, count = self.config, self.config.num_target_actions
        noise = self.noise.normal_array(SIZE * count, LATENT).reshape(SIZE, count, LATENT)
        targets = np.zeros(SIZE)
        for row in range(SIZE):
            mixed = []
            for sample in range(count):
                observation = batch["next_observations"][row : row + 1]
                action = self._generate(observation, noise[row, sample][None])
                if config.perturbs_targets:
                    change = np.tanh(self.target_perturbation(np.concatenate([observation, action], axis=1)))
                    action = np.clip(action + config.max_perturbation * change, -1, 1)
                inputs = np.concatenate([observation, action], axis=1)
                values = [critic(inputs)[0, 0] for critic in self.target_critics]
                mixed.append(config.min_weight * min(values) + (1 - config.min_weight) * max(values))
            targets[row] = batch["rewards"][row] + batch["discounts"][row] * max(mixed)
        inputs = np.concatenate([batch["observations"], batch["actions"]], axis=1)
        return descend(self.critics, self.critic_adams, inputs, targets)

    def _update_actor(self, batch: dict[str, np.ndarray]) -> float:
        observations = batch["observations"]
        generated = self._generate(observations, self.noise.normal_array(SIZE, LATENT))
        before = np.concatenate([observations, generated], axis=1)
        change = np.tanh(self.perturbation(before))
        moved = generated + self.config.max_perturbation * change
        inputs = np.concatenate([observations, np.clip(moved, -1, 1)], axis=1)
        loss = -self.critics[0](inputs).mean()
        _, slope = self.critics[0].gradient(inputs, np.full((SIZE, 1), -1 / SIZE))
        slope = slope[:, INPUTS:] * (np.abs(moved) <= 1) * self.config.max_perturbation * (1 - change**2)
        gradients, _ = self.perturbation.gradient(before, slope)
        self.actor_adam.step(flat(self.perturbation.layers), flat(gradients))
        return loss


@pytest.mark.parametrize("perturbs", [True, False])
def test_updates_equal_numpy(perturbs: bool) -> None:
    algorithm = in_double(make(replace(CONFIG, perturbs_targets=perturbs)))
    slow = SlowBCQ(algorithm)
    for seed in range(3):
        batch = box_batch(seed)
        metrics = algorithm.learn(batch)
        assert {name: value.item() for name, value in metrics.items()} == pytest.approx(
            slow.update(arrays(batch)), rel=1e-8
        )
    for found, expected in (
        (algorithm.vae.encoder, slow.encoder),
        (algorithm.vae.decoder, slow.decoder),
        (algorithm.perturbation, slow.perturbation),
        (algorithm.target_perturbation, slow.target_perturbation),
    ):
        assert_same(mlp_of(found), expected)
    for number in range(2):
        assert_same(member_of(algorithm.critics, number), slow.critics[number])
        assert_same(member_of(algorithm.target_critics, number), slow.target_critics[number])


def test_targets_are_perturbed() -> None:
    losses = [
        in_double(make(replace(CONFIG, perturbs_targets=perturbs, max_perturbation=1.0))).critic_loss(box_batch(1))
        for perturbs in (True, False)
    ]
    assert losses[0].item() != pytest.approx(losses[1].item(), rel=1e-5)


def test_acts_on_the_best_of_the_generated_actions() -> None:
    algorithm = make()
    observations = box_batch(5).observations.numpy().astype(np.float32)
    found = algorithm.policy.fork(np.random.default_rng(3)).act(observations)
    rng = np.random.default_rng(3)
    rng.random(SIZE)  # a policy draws who explores, and how, whatever eps is
    rng.uniform((-1.0,) * ELEMENTS, (1.0,) * ELEMENTS, (SIZE, ELEMENTS))
    noise = rng.standard_normal((SIZE * 4, LATENT), np.float32).reshape(SIZE, 4, LATENT)
    slow = SlowBCQ(algorithm)
    for row in range(SIZE):
        best, best_value = None, -np.inf
        for sample in range(4):
            observation = observations[row : row + 1].astype(float)
            action = slow._generate(observation, noise[row, sample][None])
            change = np.tanh(slow.perturbation(np.concatenate([observation, action], axis=1)))
            action = np.clip(action + 0.3 * change, -1, 1)
            value = slow.critics[0](np.concatenate([observation, action], axis=1))[0, 0]
            if value > best_value:
                best, best_value = action[0], value
        np.testing.assert_allclose(found[row], best, rtol=1e-4, atol=1e-6)
