"""Settings of online training, and which of them suit a task."""

from __future__ import annotations

from dataclasses import dataclass

from rlbuffers.environments import reward_threshold
from rlbuffers_train.devices import ComputeSettings
from rlbuffers_train.problem import BoxActions, ProblemSpec
from rlbuffers_train.settings import setting

__all__ = ["OnlineSettings", "recommended_settings"]

# gymnasium says of Pendulum only that returns are negative. The best policies reach about -150: what swings it up at
# once is an expert, and training on for the usual million steps would make it no better.
_RETURNS_OF_EXPERTS = {"Pendulum-v1": -200.0}


@dataclass(frozen=True, kw_only=True)
class OnlineSettings(ComputeSettings):
    """Settings of the trainer, as checkpoints keep them; the defaults are for Atari.

    The probability of a random action falls linearly from `eps_start` to `eps_end` over `eps_decay_steps`, and is
    1 before the first `random_steps` are over. An evaluation chooses the policy that is kept, so there is always one.
    """

    seed: int = setting(0, "Seed of everything random.", at_least=0)
    epoch: int = setting(100, "Number of epochs at most.", at_least=1)
    step_per_epoch: int = setting(100_000, "Environment steps from one evaluation to the next.", at_least=1)
    num_envs: int = setting(10, "Environments side by side.", at_least=1, at_most=10_000)
    replay_capacity: int = setting(100_000, "Steps kept for replay.", at_least=1, at_most=1_000_000_000)
    min_history: int = setting(320, "Transitions in the replay from which on updates are made.", at_least=1)
    update_per_step: float = setting(0.1, "Updates per environment step.", at_least=0, at_most=1000)
    random_steps: int = setting(0, "Steps that are random throughout.", at_least=0)
    eps_start: float = setting(1.0, "Share of random actions at first.", at_least=0, at_most=1)
    eps_end: float = setting(0.05, "Share of random actions in the end.", at_least=0, at_most=1)
    eps_decay_steps: int = setting(1_000_000, "Steps over which that share falls.", at_least=0)
    eval_episodes: int = setting(10, "Episodes of an evaluation.", at_least=1)
    stop_at: float | None = setting(None, "Mean return that ends training.")

    def eps_of_step(self, step: int) -> float:
        """Return the probability of a random action after `step` environment steps."""
        if step < self.random_steps:
            return 1.0
        progress = min(step / self.eps_decay_steps, 1.0) if self.eps_decay_steps > 0 else 1.0
        return self.eps_start + (self.eps_end - self.eps_start) * progress


def recommended_settings(problem: ProblemSpec, task: str | None) -> OnlineSettings:
    """Return the references' settings for images and for actions that are vectors, and quick ones for the rest."""
    stop_at = None if task is None else reward_threshold(task)
    if problem.is_pixels:
        return OnlineSettings(stop_at=stop_at)
    if isinstance(problem.actions, BoxActions):
        return OnlineSettings(
            epoch=200,
            step_per_epoch=5000,
            num_envs=1,
            replay_capacity=1_000_000,
            min_history=1000,
            update_per_step=1.0,
            random_steps=10_000,
            eps_start=0.0,
            eps_end=0.0,
            eps_decay_steps=0,
            stop_at=None if task is None else _RETURNS_OF_EXPERTS.get(task),
        )
    return OnlineSettings(
        epoch=50,
        step_per_epoch=5000,
        replay_capacity=50_000,
        min_history=1000,
        eps_decay_steps=10_000,
        eval_episodes=20,
        stop_at=stop_at,
    )
