"""TD3's skeleton in NumPy and float64: what its descendants have in common, without their losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from batches import ELEMENTS, SIZE
from slow_nets import Adam, SeededNoise, assert_same, descend, flat, follow, member_of, mlp_of

Array = np.ndarray[Any, Any]


class SlowTD3(ABC):
    """Two critics, an actor that learns less often, and target networks that follow then."""

    def __init__(self, algorithm: Any) -> None:
        self.config = algorithm.config
        self.actor, self.target_actor = mlp_of(algorithm.actor), mlp_of(algorithm.actor)
        self.critics = [member_of(algorithm.critics, number) for number in range(2)]
        self.target_critics = [member_of(algorithm.critics, number) for number in range(2)]
        self.actor_adam = Adam(self.config.actor_lr)
        self.critic_adams = [Adam(self.config.critic_lr) for _ in range(2)]
        self.noise = SeededNoise(0)
        self.step = 0

    @abstractmethod
    def next_values(self, batch: dict[str, Array], noisy_actions: Array) -> Array:
        """Return what the targets bootstrap from, shape (SIZE,)."""

    @abstractmethod
    def update_actor(self, batch: dict[str, Array]) -> float:
        """Take one step down the actor's loss and return it."""

    def lower_target(self, batch: dict[str, Array], next_actions: Array) -> Array:
        following = np.concatenate([batch["next_observations"], next_actions], axis=1)
        lower: Array = np.minimum(*(critic(following)[:, 0] for critic in self.target_critics))
        return lower

    def update(self, batch: dict[str, Array]) -> dict[str, float]:
        self.step += 1
        config = self.config
        noise = np.clip(
            config.policy_noise * self.noise.normal_array(SIZE, ELEMENTS), -config.noise_clip, config.noise_clip
        )
        noisy_actions = np.tanh(self.target_actor(batch["next_observations"])) + noise
        targets = batch["rewards"] + batch["discounts"] * self.next_values(batch, noisy_actions)
        inputs = np.concatenate([batch["observations"], batch["actions"]], axis=1)
        losses = {"critic_loss": descend(self.critics, self.critic_adams, inputs, targets)}
        if self.step % config.actor_update_freq == 0:
            losses["actor_loss"] = self.update_actor(batch)
            follow(self.target_actor, self.actor, config.tau)
            for target, online in zip(self.target_critics, self.critics, strict=True):
                follow(target, online, config.tau)
        return losses

    def descend_actor(self, batch: dict[str, Array], actions: Array, slope: Array) -> None:
        """Take one step down, where `slope` is the loss's with respect to the actions."""
        gradients, _ = self.actor.gradient(batch["observations"], slope * (1 - actions**2))
        self.actor_adam.step(flat(self.actor.layers), flat(gradients))

    def assert_same_weights(self, algorithm: Any) -> None:
        assert_same(mlp_of(algorithm.actor), self.actor)
        assert_same(mlp_of(algorithm.target_actor), self.target_actor)
        for number in range(2):
            assert_same(member_of(algorithm.critics, number), self.critics[number])
            assert_same(member_of(algorithm.target_critics, number), self.target_critics[number])
