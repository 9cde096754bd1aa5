"""Which environment a policy is judged in, and whether it fits the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rlbuffers.environments import atari_task, environment_facts
from rlbuffers.errors import MissingDependencyError, UsageError
from rlbuffers.reader import Buffer
from rlbuffers_train.problem import BoxActions, DiscreteActions, ProblemSpec, actions_of_space

__all__ = [
    "actions_of_task",
    "choose_evaluation_task",
    "environment_warnings",
    "known_task",
    "problem_of_task",
]


def choose_evaluation_task(
    asked: str | None, buffer: Buffer, problem: ProblemSpec, note: Callable[[str], None]
) -> str | None:
    """Return the task to evaluate on, or None where there is to be none; `note` gets a line on what is unusual."""
    environment = buffer.metadata.get("environment") or {}
    recorded = environment.get("id")
    if asked is None and recorded is None:
        raise UsageError(f"{buffer.path} does not name its environment; pass --task, or --eval-episodes 0")
    try:
        task = known_task(str(asked or recorded))
        if not problem_of_task(task).fits(problem):
            raise UsageError(
                f"{task} has {problem_of_task(task)}, the data have {problem}. "
                "Name the right --task, or pass --eval-episodes 0"
            )
        warnings = environment_warnings(environment, task)
    except MissingDependencyError as error:
        note(f"training without evaluation: {error}")
        return None
    for warning in warnings:
        note(f"warning: {warning}")
    return task


def environment_warnings(environment: Mapping[str, Any], task: str) -> list[str]:
    """Say in how far scores in a task are not those of the environment that data come from.

    Parameters
    ----------
    environment : mapping
        What the data's metadata say of it.
    task : str
        Where a policy is evaluated.
    """
    warnings = []
    recorded = environment.get("id")
    # Names of games are only looked up where the names differ: that needs ale-py.
    if recorded is not None and task != recorded and task != atari_task(recorded):
        warnings.append(f"the data come from {recorded}, evaluation is in {task}")
    preprocessing = environment.get("preprocessing") or {}
    sticky = environment.get("sticky_action_probability", preprocessing.get("sticky_action_probability")) or 0.0
    if sticky > 0:
        warnings.append(
            f"the data were recorded with sticky actions (probability {sticky}), "
            f"{task} has none; scores are not those of the recorded task"
        )
    return warnings


def known_task(name: str) -> str:
    """Return `name`, or the Atari task that is meant by a bare name of a game."""
    try:
        problem_of_task(name)
    except UsageError:
        game = atari_task(name)
        if game is None:
            raise
        return game
    return name


def problem_of_task(task: str) -> ProblemSpec:
    """Return the observations and actions of a task.

    Raises
    ------
    UsageError
        If there is no such task, its observations are no arrays, or its actions have no bounds.
    """
    facts = environment_facts(task)
    observations = facts["observation_space"]
    if observations["type"] != "box":
        raise UsageError(f"{task} has observations {observations}; algorithms here need arrays")
    return ProblemSpec(tuple(observations["shape"]), observations["dtype"], _actions_in(facts, task))


def actions_of_task(name: str) -> DiscreteActions | BoxActions:
    """Return the actions of a task, or of an Atari game by its bare name, whatever its observations are.

    Raises
    ------
    UsageError
        If there is no such task, or its actions have no bounds.
    """
    try:
        facts = environment_facts(name)
    except UsageError as error:
        try:
            game = atari_task(name)
        except MissingDependencyError:  # nobody asked for a game
            raise error from None
        if game is None:
            raise
        facts = environment_facts(game)
    return _actions_in(facts, name)


def _actions_in(facts: Mapping[str, Any], task: str) -> DiscreteActions | BoxActions:
    space = facts["action_space"]
    is_box = space["type"] == "box"
    actions = actions_of_space(space, tuple(space.get("shape", ())))
    if actions is None or (is_box and np.dtype(space["dtype"]).kind != "f"):
        raise UsageError(
            f"{task} has actions {space}; algorithms here need one numbered action, or a vector of float numbers with "
            "finite bounds"
        )
    return actions
