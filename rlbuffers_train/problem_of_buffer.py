"""What a buffer says of the problem that its data are from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.errors import UsageError
from rlbuffers.listing import listed
from rlbuffers.reader import Buffer
from rlbuffers.schema import ACTIONS, OBSERVATIONS, TERMINALS
from rlbuffers.spaces import count_outside, restricts
from rlbuffers.stated_actions import StatedActions, is_numbered
from rlbuffers_train.actions_of_buffer import actions_of_buffer, extreme_actions
from rlbuffers_train.problem import (
    BoxActions,
    ObservationNormalization,
    ObservationStatistics,
    ProblemSpec,
    actions_of_space,
)

__all__ = ["normalization_of", "observation_statistics_of", "problem_of_buffer", "require_fitting", "reward_scale_of"]

# IQL's authors scale rewards so that returns span this.
_RETURN_SPAN = 1000.0


def problem_of_buffer(
    buffer: Buffer,
    task: str | None = None,
    stated: StatedActions | None = None,
    on_note: Callable[[str], None] = lambda note: None,
) -> ProblemSpec:
    """Return the observations and actions of a buffer with one observation column.

    Parameters
    ----------
    buffer : Buffer
        The data.
    task, stated, on_note
        What says how many actions there are, or their bounds, where the buffer records none, as D4RL's files do not;
        see `rlbuffers_train.actions_of_buffer`.

    Raises
    ------
    UsageError
        If the buffer has dict observations or single numbers, actions of another kind, or no terminals.
    """
    columns = buffer.spec.columns
    if OBSERVATIONS not in columns or TERMINALS not in columns:
        raise UsageError(
            f"{buffer.path}: training needs columns {OBSERVATIONS!r} and {TERMINALS!r}; "
            f"the buffer has {listed(columns)}"
        )
    observations = columns[OBSERVATIONS]
    if not observations.shape:
        raise UsageError(f"{buffer.path}: an observation is a single number; vectors of shape (1,) can be trained on")
    return ProblemSpec(
        observations.shape,
        observations.dtype.name,
        actions_of_buffer(buffer, task, stated, on_note),
        observation_statistics_of(buffer),
        normalization_of(buffer),
    )


def observation_statistics_of(buffer: Buffer) -> ObservationStatistics | None:
    """Return mean and spread of a buffer's observations; None where its metadata have none, as of images."""
    found: Mapping[str, Any] = buffer.metadata["statistics"].get(OBSERVATIONS) or {}
    size = math.prod(buffer.spec.columns[OBSERVATIONS].shape)
    flat = [np.array(found.get(name, ()), dtype=np.float64).ravel() for name in ("mean", "std")]
    if any(values.size != size or not np.isfinite(values).all() for values in flat):
        return None
    return ObservationStatistics(*(tuple(values.tolist()) for values in flat))


def normalization_of(buffer: Buffer) -> ObservationNormalization | None:
    """Return what `rlbuffers normalize` did to the observations, where it did."""
    described: Mapping[str, Any] = buffer.metadata.get("normalization") or {}
    column = described.get("columns", {}).get(OBSERVATIONS)
    if column is None:
        return None
    mean, std = (tuple(np.ravel(column[name]).tolist()) for name in ("mean", "std"))
    return ObservationNormalization(mean, std, float(described["epsilon"]))


def reward_scale_of(buffer: Buffer) -> float:
    """Return the factor on rewards that makes the returns of the buffer's whole episodes span 1,000.

    Raises
    ------
    UsageError
        If no two episodes have different returns.
    """
    returns = buffer.metadata["statistics"].get("episode_returns") or {}
    span = returns.get("max", 0.0) - returns.get("min", 0.0)
    if not span > 0:
        raise UsageError(
            f"{buffer.path}: returns of episodes do not differ, rewards cannot be scaled by their span; "
            "pass --norm-rewards 0"
        )
    return _RETURN_SPAN / float(span)


def require_fitting(path: Path | None, problem: ProblemSpec, data: Buffer) -> None:
    """Refuse data that the policy of a checkpoint cannot see, or whose actions it does not take.

    Parameters
    ----------
    path : Path or None
        Of the checkpoint, for the message.
    problem : ProblemSpec
        What the checkpoint was trained on.
    data : Buffer
        With columns of observations and actions.

    Raises
    ------
    UsageError
        If they do not fit.
    """
    columns = data.spec.columns
    observations, actions = columns[OBSERVATIONS], columns[ACTIONS]
    if isinstance(problem.actions, BoxActions):  # whose bounds the data need not know
        acts_alike = actions.dtype.kind == "f" and actions.shape == (problem.actions.size,)
    elif restricts(actions.space, actions.dtype):
        acts_alike = actions_of_space(actions.space or {}, actions.shape) == problem.actions
    else:
        acts_alike = is_numbered(actions)
        first, last = problem.first_action, problem.first_action + problem.num_actions - 1
        space = {"type": "discrete", "n": problem.num_actions, "start": first}
        if acts_alike and count_outside(extreme_actions(data), space):
            raise UsageError(f"{path} is for actions from {first} to {last}; {data.path} has others")
    seen = replace(problem, observation_shape=observations.shape, observation_dtype=observations.dtype.name)
    if not acts_alike or seen.observation_shape != problem.observation_shape or seen.is_pixels != problem.is_pixels:
        raise UsageError(
            f"{path} is for {problem.observation_dtype} {problem}; {data.path} has observations "
            f"{observations.dtype.name} {observations.shape} and actions {actions.to_json()}"
        )
