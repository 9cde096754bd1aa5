"""Settings of online training, and which of them suit a task."""

from __future__ import annotations

from dataclasses import dataclass

from rlbuffers.environments import reward_threshold
from rlbuffers.errors import UsageError
from rlbuffers_train.algorithms.base import ProblemSpec

__all__ = ["OnlineSettings", "recommended_settings"]


@dataclass(frozen=True)
class OnlineSettings:
    """Settings of the trainer, as checkpoints keep them; the defaults are for Atari.

    Parameters
    ----------
    seed : int
        Of weights, environments, policy, replay and evaluations.
    epoch, step_per_epoch : int
        Number of epochs at most, and environment steps from one evaluation to the next.
    num_envs : int
        Environments that are played side by side.
    replay_capacity, min_history : int
        Steps kept for replay, and transitions in it from which on updates are made.
    n_step : int
        Number of rewards summed before bootstrapping.
    update_per_step : float
        Updates per environment step.
    eps_start, eps_end, eps_decay_steps
        Probability of a random action: falls linearly over so many steps, then stays.
    eval_episodes : int
        Episodes of an evaluation, at least 1: it chooses the policy that is kept.
    stop_at : float or None
        Mean return that ends training; None for all epochs.
    """

    seed: int = 0
    epoch: int = 100
    step_per_epoch: int = 100_000
    num_envs: int = 10
    replay_capacity: int = 100_000
    min_history: int = 320
    n_step: int = 3
    update_per_step: float = 0.1
    eps_start: float = 1.0
    eps_end: float = 0.05
    eps_decay_steps: int = 1_000_000
    eval_episodes: int = 10
    stop_at: float | None = None

    def __post_init__(self) -> None:
        counts = (self.epoch, self.step_per_epoch, self.num_envs, self.min_history, self.eval_episodes)
        if min(counts) < 1 or min(self.seed, self.update_per_step) < 0:
            raise UsageError(f"counts must be positive, the seed and update_per_step not negative; got {self}")

    def eps_of_step(self, step: int) -> float:
        """Return the probability of a random action after `step` environment steps."""
        progress = min(step / self.eps_decay_steps, 1.0) if self.eps_decay_steps > 0 else 1.0
        return self.eps_start + (self.eps_end - self.eps_start) * progress


def recommended_settings(problem: ProblemSpec, task: str) -> OnlineSettings:
    """Return the reference's settings for images, and some that learn quickly for vectors."""
    stop_at = reward_threshold(task)
    if problem.is_pixels:
        return OnlineSettings(stop_at=stop_at)
    return OnlineSettings(
        epoch=50,
        step_per_epoch=5000,
        replay_capacity=50_000,
        min_history=1000,
        n_step=5,
        eps_decay_steps=10_000,
        eval_episodes=20,
        stop_at=stop_at,
    )
