"""Which known tasks never terminate, so that only a time limit or the end of a recording ends an episode.

The facts are those of the environments' sources: the classes of gymnasium and of gym's MuJoCo tasks whose
``step`` always says False; D4RL's point mazes and hands (``d4rl/pointmaze``, ``d4rl/hand_manipulation_suite``;
the pen can be dropped, which ends it); the hands and arms of Gymnasium-Robotics; and dm_control's suite, where only
the tasks of ``lqr.py`` define a termination. Tasks that do so by an option are in no list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["CAN_TERMINATE", "can_terminate", "ending_facts", "impossible_terminals"]

CAN_TERMINATE = "can_terminate"
_SUITES = ("RL Unplugged Control Suite", "RL Unplugged RWRL")
_ENDLESS_IDS = re.compile(
    "|".join(
        (
            r"(HalfCheetah|Swimmer|Reacher|Pusher|Striker|Thrower|HumanoidStandup|Pendulum)-v\d+",
            r"maze2d-[a-z-]+-v\d+",
            r"(door|hammer|relocate)-(human|human-longhorizon|cloned|expert|v\d+)(-v\d+)?",
            r"AdroitHand(Door|Hammer|Relocate)(Sparse)?-v\d+",
            r"(Fetch(Reach|Push|Slide|PickAndPlace)|HandReach|HandManipulate\w+?)(Dense)?-v\d+",
            r"dm_control/(?!lqr)[\w-]+-v\d+",
        )
    )
)


def can_terminate(environment: Mapping[str, Any]) -> bool | None:
    """Tell whether a task can terminate.

    Parameters
    ----------
    environment : mapping
        What a buffer's metadata say under ``environment``. A recorded ``can_terminate`` decides; else its ``id``
        and ``suite`` do, if they are known.

    Returns
    -------
    bool or None
        None where nothing is known.
    """
    recorded = environment.get(CAN_TERMINATE)
    if isinstance(recorded, bool):
        return recorded
    known = environment.get("suite") in _SUITES or _ENDLESS_IDS.fullmatch(str(environment.get("id")))
    return False if known else None


def ending_facts(environment: Mapping[str, Any]) -> dict[str, bool]:
    """Return what goes into a source's ``environment`` beside its id: ``can_terminate``, if that is known."""
    known = can_terminate(environment)
    return {} if known is None else {CAN_TERMINATE: known}


def impossible_terminals(environment: Mapping[str, Any], count: int) -> list[str]:
    """Say what so many terminals mean where the task never terminates; nothing to say elsewhere, or of none.

    Parameters
    ----------
    environment : mapping
        As for `can_terminate`.
    count : int
        Number of terminals.
    """
    if not count or can_terminate(environment) is not False:
        return []
    task = environment.get("id") or "the task"
    transitions = "1 transition is" if count == 1 else f"{count:,} transitions are"
    return [
        f"{transitions} terminal, but {task} never terminates. The flag marks something else there, such as a time "
        "limit or the end of a recording; values that stop at it are wrong."
    ]
