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
from rlbuffers.errors import UnsupportedError, UsageError
from rlbuffers.schema import (
    ACTIONS,
    FRAMES,
    OBSERVATIONS,
    REWARDS,
    TERMINALS,
    TIMEOUTS,
    BufferSpec,
    ColumnSpec,
)
from rlbuffers.sources.base import IdentityDecoder, Source
from rlbuffers.tally import Tally

__all__ = ["Policy", "PolicyRolloutSource"]

Array = np.ndarray[Any, Any]


class Policy(Protocol):
    """What acts in the environments."""

    def act(self, observations: Array) -> Array:
        """Return int64 actions of shape (num_envs,) for observations of shape (num_envs, *obs)."""


class PolicyRolloutSource(Source[Episode]):
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
    UnsupportedError
        If the task's actions are not discrete.
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
        self._returns: list[float] = []
        self._done = 0
        self._num_episodes = 0
        self._reward_sum = 0.0
        actions = self._facts["action_space"]
        if actions["type"] != "discrete":
            raise UnsupportedError(f"{task}: this policy needs discrete actions; the task's action space is {actions}")

    @property
    def where(self) -> str:
        """The task."""
        return self._task

    @property
    def spec(self) -> BufferSpec:
        """Episodes; stacks of frames where the environment stacks them."""
        observation = self._facts["observation_space"]
        bounds = {key: observation[key] for key in ("type", "low", "high")}
        return BufferSpec(
            layout="episodes",
            stack=int(self._facts["preprocessing"].get("frame_stack", 0)),
            columns=[
                ColumnSpec(OBSERVATIONS, np.dtype(observation["dtype"]), tuple(observation["shape"]), bounds),
                ColumnSpec(ACTIONS, np.dtype(np.int64), (), self._facts["action_space"]),
                ColumnSpec(REWARDS, np.dtype(np.float32)),
                ColumnSpec(TERMINALS, np.dtype(np.bool_)),
                ColumnSpec(TIMEOUTS, np.dtype(np.bool_)),
            ],
            episode_columns=[
                ColumnSpec("env_indices", np.dtype(np.int64)),
                ColumnSpec("reset_seeds", np.dtype(np.int64)),
            ],
        )

    @property
    def decoder(self) -> IdentityDecoder:
        """Episodes need no decoding."""
        return IdentityDecoder()

    def pieces(self) -> Iterator[Episode]:
        """Play, and yield each episode when it ends."""
        envs = make_vector_env(self._task, self._num_envs, self._seed, training=False)
        try:
            yield from self._play(envs)
        finally:
            envs.close()

    def _play(self, envs: Any) -> Iterator[Episode]:
        stack = self.spec.stack
        num_actions = int(self._facts["action_space"]["n"])
        quota = [self._size // self._num_envs + (i < self._size % self._num_envs) for i in range(self._num_envs)]
        observations, _ = envs.reset()
        running = [_Recording(first, stack) for first in observations]
        ended = np.zeros(self._num_envs, bool)
        while any(quota):
            actions = np.asarray(self._policy.act(observations))
            if actions.shape != (self._num_envs,) or actions.min() < 0 or actions.max() >= num_actions:
                raise UsageError(
                    f"the policy returned actions {actions!r}; expected {self._num_envs} of 0 to {num_actions - 1}"
                )
            observations, rewards, terminated, truncated, _ = envs.step(actions)
            for index in np.flatnonzero(quota).tolist():
                if ended[index]:  # this step was the reset: its action did nothing
                    running[index] = _Recording(observations[index], stack)
                    continue
                cut = quota[index] == 1 and not (terminated[index] or truncated[index])
                running[index].add(
                    actions[index], rewards[index], terminated[index], truncated[index] or cut, observations[index]
                )
                quota[index] -= 1
                self._done += 1
                self._reward_sum += float(np.float32(rewards[index]))  # the column's dtype
                if cut or terminated[index] or truncated[index]:
                    yield self._finished(running[index], index, whole=not cut)
            ended = terminated | truncated

    def _finished(self, recording: _Recording, index: int, *, whole: bool) -> Episode:
        episode = recording.episode({"env_indices": index, "reset_seeds": self._seed + index}, whole)
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
            "source": {
                "format": "policy-rollout",
                "num_envs": self._num_envs,
                "seed": self._seed,
                "seeding": "copy i is reset with seed + i and continues without a seed (episodes/env_indices tells i)",
                "rewards": "the environment's, unclipped",
            },
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


class _Recording:
    """The episode that one copy of the environment is in."""

    def __init__(self, first: Array, stack: int) -> None:
        self._stack = stack
        self._observations: list[Array] = list(first.copy()) if stack else [first.copy()]
        self._actions: list[int] = []
        self._rewards: list[float] = []
        self._terminals: list[bool] = []
        self._timeouts: list[bool] = []

    def add(self, action: int, reward: float, terminated: bool, truncated: bool, observation: Array) -> None:
        if self._stack and not (observation[:-1] == np.stack(self._observations[1 - self._stack :])).all():
            raise UnsupportedError("the environment's frame stacks do not move on by one frame a step")
        self._observations.append(observation[-1].copy() if self._stack else observation.copy())
        self._actions.append(int(action))
        self._rewards.append(float(reward))
        self._terminals.append(bool(terminated))
        self._timeouts.append(bool(truncated))

    def episode(self, facts: Mapping[str, Any], whole: bool) -> Episode:
        return Episode(
            columns={
                ACTIONS: np.array(self._actions, np.int64),
                REWARDS: np.array(self._rewards, np.float32),
                TERMINALS: np.array(self._terminals),
                TIMEOUTS: np.array(self._timeouts),
            },
            observations={FRAMES if self._stack else OBSERVATIONS: np.stack(self._observations)},
            facts=facts,
            whole=whole,
        )
