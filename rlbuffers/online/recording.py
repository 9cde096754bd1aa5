"""Episodes as they are played: what an environment's steps become in a buffer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlbuffers.episode import Episode
from rlbuffers.errors import UnsupportedError
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

__all__ = ["EpisodeRecording", "action_column", "spec_of_environment"]

Array = np.ndarray[Any, Any]


def action_column(space: Mapping[str, Any]) -> ColumnSpec:
    """Return the column of actions of an action space, as `rlbuffers.environments.environment_facts` describes it."""
    if space["type"] == "discrete":
        return ColumnSpec(ACTIONS, np.dtype(np.int64), (), space)
    bounds = {key: space[key] for key in ("type", "low", "high")}
    return ColumnSpec(ACTIONS, np.dtype(space["dtype"]), tuple(space["shape"]), bounds)


def spec_of_environment(facts: Mapping[str, Any], episode_columns: Sequence[str]) -> BufferSpec:
    """Return the spec of episodes played in an environment.

    Parameters
    ----------
    facts : mapping
        What `rlbuffers.environments.environment_facts` says of it.
    episode_columns : sequence of str
        Names of whole numbers that are told of each episode.
    """
    observation = facts["observation_space"]
    bounds = {key: observation[key] for key in ("type", "low", "high")}
    return BufferSpec(
        layout="episodes",
        stack=int(facts["preprocessing"].get("frame_stack", 0)),
        columns=[
            ColumnSpec(OBSERVATIONS, np.dtype(observation["dtype"]), tuple(observation["shape"]), bounds),
            action_column(facts["action_space"]),
            ColumnSpec(REWARDS, np.dtype(np.float32)),
            ColumnSpec(TERMINALS, np.dtype(np.bool_)),
            ColumnSpec(TIMEOUTS, np.dtype(np.bool_)),
        ],
        episode_columns=[ColumnSpec(name, np.dtype(np.int64)) for name in episode_columns],
    )


class EpisodeRecording:
    """The episode that one copy of an environment is in.

    Parameters
    ----------
    first : array, shape (*obs)
        The observation of the reset; copied.
    spec : BufferSpec
        See :func:`spec_of_environment`.
    """

    def __init__(self, first: Array, spec: BufferSpec) -> None:
        self._stack = spec.stack
        self._action_dtype = spec.columns[ACTIONS].dtype
        self._observations: list[Array] = list(first.copy()) if self._stack else [first.copy()]
        self._actions: list[Array] = []
        self._rewards: list[float] = []
        self._terminals: list[bool] = []
        self._timeouts: list[bool] = []

    def __len__(self) -> int:
        return len(self._actions)

    def add(self, action: Array, reward: float, terminated: bool, truncated: bool, observation: Array) -> None:
        """Add a step: what was done, what followed, and the observation after it, which is copied.

        Raises
        ------
        UnsupportedError
            If a stack of frames does not continue the one before.
        """
        if self._stack and not (observation[:-1] == np.stack(self._observations[1 - self._stack :])).all():
            raise UnsupportedError("the environment's frame stacks do not move on by one frame a step")
        self._observations.append(observation[-1].copy() if self._stack else observation.copy())
        self._actions.append(np.array(action, self._action_dtype))
        self._rewards.append(float(reward))
        self._terminals.append(bool(terminated))
        self._timeouts.append(bool(truncated))

    def episode(self, facts: Mapping[str, Any], *, whole: bool) -> Episode:
        """Return what was recorded; an episode that is cut gets a timeout on its last step."""
        timeouts = np.array(self._timeouts)
        if not whole:
            timeouts[-1] = True
        return Episode(
            columns={
                ACTIONS: np.stack(self._actions),
                REWARDS: np.array(self._rewards, np.float32),
                TERMINALS: np.array(self._terminals),
                TIMEOUTS: timeouts,
            },
            observations={FRAMES if self._stack else OBSERVATIONS: np.stack(self._observations)},
            facts=facts,
            whole=whole,
        )
