"""Playing whole episodes with a policy to see what it is worth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rlbuffers.environments import make_vector_env
from rlbuffers.errors import FormatError
from rlbuffers_train.policy import Policy

__all__ = ["EvaluationResult", "PlayedEpisodes", "evaluate", "play_episodes"]

Array = np.ndarray[Any, Any]
_MAX_ENVS = 10


@dataclass(frozen=True)
class EvaluationResult:
    """Undiscounted returns of whole episodes, and statistics of them.

    Parameters
    ----------
    mean, std : float
        Of the returns; the standard deviation is that of the episodes, not of the mean.
    num_episodes : int
        How many.
    mean_length : float
        Mean number of steps of an episode.
    """

    mean: float
    std: float
    num_episodes: int
    mean_length: float

    def __post_init__(self) -> None:
        if self.num_episodes < 1:
            raise FormatError(f"expected the result of 1 episode or more, got num_episodes {self.num_episodes}")

    def __str__(self) -> str:
        plural = "episode" if self.num_episodes == 1 else "episodes"
        return f"{self.mean:.1f} ± {self.std:.1f} ({self.num_episodes} {plural})"

    def surely_reaches(self, threshold: float) -> bool:
        """Whether the mean lies above `threshold` by at least its own standard error."""
        return self.mean - self.std / math.sqrt(self.num_episodes) >= threshold

    def to_json(self) -> dict[str, float]:
        """Return the values as JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class PlayedEpisodes:
    """What whole episodes came to.

    Parameters
    ----------
    returns : float64, shape (E,)
        Undiscounted, of unclipped rewards.
    lengths : int64, shape (E,)
        Steps.
    """

    returns: Array
    lengths: Array

    def summarize(self) -> EvaluationResult:
        """Return mean and standard deviation."""
        return EvaluationResult(
            float(self.returns.mean()), float(self.returns.std()), len(self.returns), float(self.lengths.mean())
        )


def evaluate(
    policy: Policy,
    task: str,
    num_episodes: int,
    generator: np.random.Generator,
    on_step: Callable[[], None] = lambda: None,
) -> EvaluationResult:
    """Play full episodes with unclipped rewards, and sum up; see :func:`play_episodes`."""
    return play_episodes(policy, task, num_episodes, generator, on_step).summarize()


def play_episodes(
    policy: Policy,
    task: str,
    num_episodes: int,
    generator: np.random.Generator,
    on_step: Callable[[], None] = lambda: None,
    *,
    num_envs: int = _MAX_ENVS,
    on_episode: Callable[[int], None] = lambda count: None,
) -> PlayedEpisodes:
    """Play full episodes with unclipped rewards.

    How many episodes each environment plays is fixed before: taking the first to finish would favour short ones.

    Parameters
    ----------
    policy : Policy
        Not changed; a fork of it acts.
    task : str
        See `rlbuffers.environments.make_vector_env`.
    num_episodes : int
        At least 1.
    generator : numpy.random.Generator
        Seeds the environments and the policy's fork.
    on_step : callable
        Called after each step of all environments; may raise to break off.
    num_envs : int
        How many environments play side by side at most.
    on_episode : callable
        Is told how many episodes are over, each time that one is.
    """
    num_envs = min(num_episodes, num_envs)
    quotas = num_episodes // num_envs + (np.arange(num_envs) < num_episodes % num_envs)
    envs = make_vector_env(task, num_envs, int(generator.integers(2**30)), training=False)
    acting = policy.fork(generator)
    returns: list[float] = []
    lengths: list[int] = []
    running_returns = np.zeros(num_envs)
    running_lengths = np.zeros(num_envs, np.int64)
    follows_end = np.zeros(num_envs, np.bool_)
    try:
        observations, _ = envs.reset()
        while quotas.any():
            observations, rewards, terminated, truncated, _ = envs.step(acting.act(observations))
            running_returns += np.where(follows_end, 0.0, rewards)
            running_lengths += ~follows_end
            follows_end = terminated | truncated
            for env in np.flatnonzero(follows_end):
                if quotas[env]:
                    returns.append(float(running_returns[env]))
                    lengths.append(int(running_lengths[env]))
                    quotas[env] -= 1
                    on_episode(len(returns))
                running_returns[env], running_lengths[env] = 0.0, 0
            on_step()
    finally:
        envs.close()
    return PlayedEpisodes(np.array(returns), np.array(lengths))
