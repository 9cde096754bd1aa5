"""Which environment a policy is judged in, and whether it fits the data."""

from __future__ import annotations

from rlbuffers.environments import atari_task, environment_facts
from rlbuffers.errors import MissingDependencyError, UsageError
from rlbuffers.reader import Buffer
from rlbuffers_train.problem import ProblemSpec, actions_of_space
from rlbuffers_train.reporting import Reporter

__all__ = ["choose_evaluation_task", "problem_of_task", "require_fitting_task"]


def choose_evaluation_task(asked: str | None, buffer: Buffer, problem: ProblemSpec, reporter: Reporter) -> str | None:
    """Return the task to evaluate on, or None where there is to be none; say what is unusual."""
    environment = buffer.metadata.get("environment") or {}
    recorded = environment.get("id")
    if asked is None and recorded is None:
        raise UsageError(f"{buffer.path} does not name its environment; pass --task, or --eval-episodes 0")
    try:
        task = _known_task(str(asked or recorded))
        require_fitting_task(task, problem)
        # Names of games are only looked up where the names differ: that needs ale-py.
        is_other = recorded is not None and task != recorded and task != atari_task(recorded)
    except MissingDependencyError as error:
        reporter.note(f"training without evaluation: {error}")
        return None
    if is_other:
        reporter.note(f"warning: the data come from {recorded}, evaluation is in {task}")
    preprocessing = environment.get("preprocessing") or {}
    sticky = environment.get("sticky_action_probability", preprocessing.get("sticky_action_probability")) or 0.0
    if sticky > 0:
        reporter.note(
            f"warning: the data were recorded with sticky actions (probability {sticky}), "
            f"{task} has none; scores are not those of the recorded task"
        )
    return task


def _known_task(name: str) -> str:
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
    space, observations = facts["action_space"], facts["observation_space"]
    actions = actions_of_space(space, tuple(space.get("shape", ())))
    if actions is None or observations["type"] != "box":
        raise UsageError(f"{task} has actions {space} and observations {observations}; such tasks cannot be trained")
    return ProblemSpec(tuple(observations["shape"]), observations["dtype"], actions)


def require_fitting_task(task: str, problem: ProblemSpec) -> None:
    """Refuse a task whose observations or actions are not those of the data.

    Raises
    ------
    UsageError
        If shapes or the number of actions differ, or one has vectors for actions and the other has not.
    """
    found = problem_of_task(task)
    if not found.fits(problem):
        raise UsageError(
            f"{task} has {found}, the data have {problem}. Name the right --task, or pass --eval-episodes 0"
        )
