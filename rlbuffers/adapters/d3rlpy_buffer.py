"""A buffer as a ``d3rlpy.dataset.ReplayBuffer`` in RAM."""

from __future__ import annotations

from typing import Any

from rlbuffers.exports.d3rlpy.episodes import D3rlpyEpisodes
from rlbuffers.optional import require
from rlbuffers.reader import Buffer
from rlbuffers.schema import ACTIONS, OBSERVATIONS

__all__ = ["to_d3rlpy"]


def to_d3rlpy(buffer: Buffer) -> Any:
    """Return the episodes as a ``d3rlpy.dataset.ReplayBuffer``.

    Parameters
    ----------
    buffer : Buffer
        Of the ``episodes`` layout; decoded into RAM.

    Returns
    -------
    d3rlpy.dataset.ReplayBuffer
        See `rlbuffers.exports.d3rlpy.episodes` for what it cannot hold. Frames are stored once, and
        stacked by d3rlpy's pickers.

    Raises
    ------
    UnsupportedError
        If d3rlpy cannot hold such a buffer; says why.
    MissingDependencyError
        If d3rlpy is not installed.
    """
    dataset = require("d3rlpy.dataset", extra=None, purpose="to_d3rlpy()")
    kinds = require("d3rlpy.constants", extra=None, purpose="to_d3rlpy()").ActionSpace
    episodes = D3rlpyEpisodes(buffer)
    is_tuple = buffer.spec.observation_names != [OBSERVATIONS]
    stack = buffer.spec.stack
    return dataset.ReplayBuffer(
        dataset.InfiniteBuffer(),
        transition_picker=dataset.FrameStackTransitionPicker(stack) if stack else None,
        trajectory_slicer=dataset.FrameStackTrajectorySlicer(stack) if stack else None,
        episodes=[
            dataset.Episode(
                episode.observations if is_tuple else episode.observations[0],
                episode.actions,
                episode.rewards,
                episode.terminated,
            )
            for episode in episodes
        ],
        action_space=kinds.DISCRETE if episodes.is_discrete else kinds.CONTINUOUS,
        action_size=_action_size(buffer),
    )


def _action_size(buffer: Buffer) -> int | None:
    """Return the number of discrete actions if the buffer knows it, else None: d3rlpy takes the largest one."""
    space = buffer.spec.columns[ACTIONS].space or {}
    return int(space["n"]) if space.get("type") == "discrete" else None
