"""Rollouts of a policy as a source: whole episodes, in the order in which they end.

Nothing here knows what a policy is made of; it is anything that turns a batch of observations into
a batch of actions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from rlbuffers.environments import MAX_SEED, environment_facts, make_vector_env
from rlbuffers.episode import Episode
from rlbuffers.errors import UsageError
from rlbuffers.online.recording import EpisodeRecording, spec_of_environment
from rlbuffers.reader_versions import source_facts
from rlbuffers.schema import ACTIONS, REWARDS, BufferSpec
from rlbuffers.sources.base import RowSource
from rlbuffers.spaces import count_outside
from rlbuffers.tally import Tally

__all__ = ["Policy", "PolicyRolloutSource"]

Array = np.ndarray[Any, Any]


class Policy(Protocol):
    """What acts in the environments."""

    def act(self, observations: Array) -> Array:
        """Return actions (num_envs,) or (num_envs, D) for observations (num_envs, *obs)."""


class PolicyRolloutSource(RowSource[Episode]):
    """Transitions of a policy in several copies of an environment.

    Every copy contributes the same number of steps (one more for the first ones where it does not
    divide evenly). Taking whole episodes until there are enough would prefer short ones. The
    episode that a copy is in at its last step is cut: its last row has ``timeouts`` set, as the
    recording ended there, and ``episodes/whole`` is False.

    Parameters
    ----------
    policy : Policy
        Acts; where it explores, it does so on its own random numbers.
    behavior_policy : mapping
        What is known about it, for the metadata: name, epsilon, checkpoint hash, ...
    task : str
        Environment id; see `rlbuffers.environments`. Full games and unclipped rewards.
    size : int
        Number of transitions.
    num_envs : int
        Copies of the environment that step together.
    seed : int
        Seed of the environments: copy i is reset once with ``seed + i`` and goes on from there.

    Raises
    ------
    UsageError
        If the task is unknown or a number is not positive.
    """

    def __init__(
        self,
        policy: Policy,
        behavior_policy: Mapping[str, Any],
        task: str,
        *,
        size: int,
        num_envs: int,
        seed: int,
    ) -> None:
        if size < 1 or num_envs < 1:
            raise UsageError(f"size and num_envs must be at least 1, got {size} and {num_envs}")
        if not 0 <= seed < MAX_SEED:
            raise UsageError(f"seed {seed}: expected 0 to {MAX_SEED - 1}")
        self._policy = policy
        self._behavior_policy = dict(behavior_policy)
        self._task = task
        self._size = size
        self._num_envs = min(num_envs, size)
        self._seed = seed
        self._facts = environment_facts(task)
        self._spec = spec_of_environment(self._facts, episode_columns=("env_indices", "reset_seeds"))
        self._returns: list[float] = []
        self._done = 0
        self._num_episodes = 0
        self._reward_sum = 0.0

    @property
    def where(self) -> str:
        """The task."""
        return self._task

    @property
    def spec(self) -> BufferSpec:
        """Episodes; stacks of frames where the environment stacks them."""
        return self._spec

    def pieces(self) -> Iterator[Episode]:
        """Play, and yield each episode when it ends."""
        envs = make_vector_env(self._task, self._num_envs, self._seed, training=False)
        try:
            yield from self._play(envs)
        finally:
            envs.close()

    def _play(self, envs: Any) -> Iterator[Episode]:
        column = self._spec.columns[ACTIONS]
        quota = [self._size // self._num_envs + (i < self._size % self._num_envs) for i in range(self._num_envs)]
        observations, _ = envs.reset()
        running = [EpisodeRecording(first, self._spec) for first in observations]
        ended = np.zeros(self._num_envs, bool)
        while any(quota):
            actions = np.asarray(self._policy.act(observations))
            if actions.shape != (self._num_envs, *column.shape) or count_outside(actions, column.space or {}):
                raise UsageError(
                    f"the policy returned actions {actions!r}; expected {self._num_envs} in {column.space}"
                )
            observations, rewards, terminated, truncated, _ = envs.step(actions)
            for index in np.flatnonzero(quota).tolist():
                if ended[index]:  # this step was the reset: its action did nothing
                    running[index] = EpisodeRecording(observations[index], self._spec)
                    continue
                cut = quota[index] == 1 and not (terminated[index] or truncated[index])
                running[index].add(
                    actions[index], rewards[index], terminated[index], truncated[index], observations[index]
                )
                quota[index] -= 1
                self._done += 1
                self._reward_sum += float(np.float32(rewards[index]))  # the column's dtype
                if cut or terminated[index] or truncated[index]:
                    yield self._finished(running[index], index, whole=not cut)
            ended = terminated | truncated

    def _finished(self, recording: EpisodeRecording, index: int, *, whole: bool) -> Episode:
        episode = recording.episode({"env_indices": index, "reset_seeds": self._seed + index}, whole=whole)
        self._num_episodes += 1
        if whole:
            self._returns.append(float(episode.columns[REWARDS].astype(np.float64).sum()))
        return episode

    def tally(self) -> Tally:
        """Count the steps and their rewards as the environments gave them."""
        return Tally(self._num_episodes, self._done, self._reward_sum)

    def early_metadata(self) -> dict[str, Any]:
        """Describe environment, policy and seeds."""
        return {
            "environment": self._facts,
            "behavior_policy": self._behavior_policy,
            "source": source_facts(
                "policy-rollout",
                num_envs=self._num_envs,
                seed=self._seed,
                seeding="copy i is reset with seed + i and continues without a seed (episodes/env_indices tells i)",
                rewards="the environment's, unclipped",
            ),
            "license": "MIT",
            "citation": "",
        }

    def metadata(self) -> dict[str, Any]:
        """Describe environment, policy, seeds and what was recorded."""
        cut = self._num_envs
        return {
            **self.early_metadata(),
            "warnings": [] if self._returns else ["No episode ended within the recording: no return is known."],
            "left_out": [],
            "notes": [
                f"The last episode of each of the {cut} copies may be cut: timeouts is set on its last row and "
                "episodes/whole is False."
            ],
        }

    @property
    def total(self) -> int:
        """Number of transitions to record."""
        return self._size

    @property
    def done(self) -> int:
        """Number of transitions recorded."""
        return self._done
