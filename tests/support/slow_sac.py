"""SAC in NumPy, with gradients by hand; continuous CQL adds to it."""

from __future__ import annotations

from typing import Any

import numpy as np
from batches import ELEMENTS, INPUTS, SIZE
from slow_nets import Adam, SeededNoise, descend, flat, follow, member_of, mlp_of

Array = np.ndarray[Any, Any]


class SlowSAC:
    """One actor, two critics and alpha, updated as the paper says."""

    def __init__(self, algorithm: Any) -> None:
        self.config = config = algorithm.config
        self.actor = mlp_of(algorithm.actor)
        self.critics = [member_of(algorithm.critics, number) for number in range(2)]
        self.target_critics = [member_of(algorithm.critics, number) for number in range(2)]
        self.log_alpha = np.array(np.log(config.alpha))
        self.actor_adam, self.alpha_adam = Adam(config.actor_lr), Adam(config.alpha_lr)
        self.critic_adams = [Adam(config.critic_lr) for _ in range(2)]
        self.noise = SeededNoise(0)

    def sample(self, observations: Array, noise: Array) -> tuple[Array, Array]:
        """Return actions and log-densities; the density of tanh by its slope."""
        mean, log_std = np.split(self.actor(observations), 2, axis=-1)
        std = np.exp(np.clip(log_std, -20, 2))
        latent = mean + std * noise
        gaussian = -((latent - mean) ** 2) / (2 * std**2) - np.log(std) - 0.5 * np.log(2 * np.pi)
        return np.tanh(latent), (gaussian - np.log(1 - np.tanh(latent) ** 2)).sum(axis=-1)

    def targets(self, batch: dict[str, Array], with_entropy: bool) -> Array:
        actions, log_probs = self.sample(batch["next_observations"], self.noise.normal_array(SIZE, ELEMENTS))
        following = np.concatenate([batch["next_observations"], actions], axis=1)
        values = np.minimum(*(critic(following)[:, 0] for critic in self.target_critics))
        if with_entropy:
            values = values - np.exp(self.log_alpha) * log_probs
        return batch["rewards"] + batch["discounts"] * values

    def update_critics(self, batch: dict[str, Array]) -> float:
        targets = self.targets(batch, with_entropy=True)
        inputs = np.concatenate([batch["observations"], batch["actions"]], axis=1)
        return descend(self.critics, self.critic_adams, inputs, targets)

    def update_actor(self, batch: dict[str, Array]) -> dict[str, float]:
        noise, observations = self.noise.normal_array(SIZE, ELEMENTS), batch["observations"]
        outputs = self.actor(observations)
        std = np.exp(np.clip(outputs[:, ELEMENTS:], -20, 2))
        actions, log_probs = self.sample(observations, noise)
        inputs = np.concatenate([observations, actions], axis=1)
        values = np.stack([critic(inputs)[:, 0] for critic in self.critics])
        alpha = np.exp(self.log_alpha)
        loss = (alpha * log_probs - values.min(axis=0)).mean()
        slope = np.zeros((SIZE, ELEMENTS))
        for number, critic in enumerate(self.critics):
            chosen = (values.argmin(axis=0) == number)[:, None].astype(float)
            slope += critic.gradient(inputs, chosen)[1][:, INPUTS:]
        slope *= 1 - actions**2
        by_mean = (alpha * 2 * actions - slope) / SIZE
        by_log_std = (alpha * (2 * actions * std * noise - 1) - slope * std * noise) / SIZE
        gradients, _ = self.actor.gradient(observations, np.concatenate([by_mean, by_log_std], axis=1))
        self.actor_adam.step(flat(self.actor.layers), flat(gradients))
        if self.config.alpha_lr:
            self.alpha_adam.step([self.log_alpha], [-(log_probs - ELEMENTS).mean()])
        return {"actor_loss": loss, "alpha": float(np.exp(self.log_alpha)), "entropy": -log_probs.mean()}

    def update(self, batch: dict[str, Array]) -> dict[str, float]:
        losses = {"critic_loss": self.update_critics(batch), **self.update_actor(batch)}
        self.follow()
        return losses

    def follow(self) -> None:
        for target, online in zip(self.target_critics, self.critics, strict=True):
            follow(target, online, self.config.tau)
