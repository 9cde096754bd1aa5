"""Which column of a table is which: Reverb prescribes no names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rlbuffers.errors import FormatError, UsageError
from rlbuffers.schema import (
    ACTIONS,
    NEXT_OBSERVATIONS,
    OBSERVATIONS,
    REWARDS,
    TERMINALS,
    TIMEOUTS,
    is_observation,
    next_name,
)

__all__ = ["DISCOUNTS", "NEEDED", "target_names"]

DISCOUNTS = "discounts"
# Columns of which an item has one row a step; observations aside.
NEEDED = frozenset({ACTIONS, REWARDS, DISCOUNTS, TERMINALS, TIMEOUTS})
# Names that mean one thing only. "done" is not among them: it may be a terminal, a timeout or either.
_KNOWN = {
    alias: name
    for name, aliases in {
        OBSERVATIONS: ("observation", "obs"),
        NEXT_OBSERVATIONS: ("next_observation", "next_obs", "obs_next"),
        ACTIONS: ("action", "act"),
        REWARDS: ("reward", "rew"),
        DISCOUNTS: ("discount",),
        TERMINALS: ("terminal", "terminated", "termination", "terminations"),
        TIMEOUTS: ("timeout", "truncated", "truncation", "truncations"),
    }.items()
    for alias in aliases
}


def target_names(names: Sequence[str], chosen: Mapping[str, str], described: str, where: str) -> list[str]:
    """Return the name in the buffer of every column.

    Parameters
    ----------
    names : sequence of str
        In the table; nested ones have ``/``.
    chosen : mapping of str to str
        What the user says: a column, or the part of nested names before a ``/``, to its name in the buffer.
    described : str
        The columns in words, for messages.
    where : str
        What is read, for messages.

    Raises
    ------
    UsageError
        If a chosen column does not exist.
    FormatError
        If two columns get one name, or it cannot be told which are observations, actions, rewards, and terminals or
        discounts.
    """
    used: set[str] = set()
    targets = [_target(name, chosen, used) for name in names]
    for name in chosen:
        if name not in used:
            raise UsageError(f"{where}: --map {name}={chosen[name]}: there is no such column; it has {described}")
    twice = sorted({target for target in targets if targets.count(target) > 1})
    if twice:
        raise FormatError(
            f"{where}: more than one column would be {', '.join(twice)}; it has {described}. Say what they are with "
            "--map COLUMN=NAME"
        )
    missing = [name for name in (ACTIONS, REWARDS) if name not in targets]
    if not any(is_observation(target) for target in targets):
        missing.insert(0, OBSERVATIONS)
    if not {TERMINALS, DISCOUNTS} & set(targets):
        missing.append(f"{TERMINALS} or {DISCOUNTS} (0 where the task ended)")
    if missing:
        raise FormatError(
            f"{where}: cannot tell which columns are {', '.join(missing)}; it has {described}. Say so with "
            f"--map COLUMN=NAME (names: {OBSERVATIONS}, {ACTIONS}, {REWARDS}, {TERMINALS}, {DISCOUNTS}, {TIMEOUTS}, "
            f"{NEXT_OBSERVATIONS})"
        )
    _require_all_next(targets, described, where)
    return targets


def _target(name: str, chosen: Mapping[str, str], used: set[str]) -> str:
    parts = name.split("/")
    for depth in range(len(parts), 0, -1):
        head = "/".join(parts[:depth])
        if head in chosen:
            used.add(head)
            return "/".join([chosen[head], *parts[depth:]])
    return "/".join([_KNOWN.get(parts[0], parts[0]), *parts[1:]])


def _require_all_next(targets: Sequence[str], described: str, where: str) -> None:
    observed = [target for target in targets if is_observation(target)]
    following = {target for target in targets if target.partition("/")[0] == NEXT_OBSERVATIONS}
    if following and following != {next_name(name) for name in observed}:
        raise FormatError(
            f"{where}: expected a next observation for each of {', '.join(observed)}, found "
            f"{', '.join(sorted(following))}; it has {described}"
        )
