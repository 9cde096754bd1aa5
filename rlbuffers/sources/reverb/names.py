"""Which column of a table is which: Reverb prescribes no names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rlbuffers.errors import FormatError
from rlbuffers.listing import listed
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
from rlbuffers.sources.field_names import DISCOUNTS, candidates, chosen_names, heads_of, target_name

__all__ = ["NEEDED", "target_names"]

# Columns of which an item has one row a step; observations aside.
NEEDED = frozenset({ACTIONS, REWARDS, DISCOUNTS, TERMINALS, TIMEOUTS})
# What "done", "mask" and the like mean is not guessed here: a terminal, a timeout or either.
_UNDERSTOOD = NEEDED | {OBSERVATIONS, NEXT_OBSERVATIONS}


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
    said = chosen_names(heads_of(names), chosen, where, described)
    guessed = _guessed(names, said)
    targets = [target_name(name, said, guessed) for name in names]
    twice = sorted({target for target in targets if targets.count(target) > 1})
    if twice:
        raise FormatError(
            f"{where}: more than one column would be {listed(twice)}; it has {described}. Say what they are with "
            "--map COLUMN=NAME"
        )
    missing = [name for name in (ACTIONS, REWARDS) if name not in targets]
    if not any(is_observation(target) for target in targets):
        missing.insert(0, OBSERVATIONS)
    if not {TERMINALS, DISCOUNTS} & set(targets):
        missing.append(f"{TERMINALS} or {DISCOUNTS} (0 where the task ended)")
    if missing:
        raise FormatError(
            f"{where}: cannot tell which columns are {listed(missing)}; it has {described}. Say so with "
            f"--map COLUMN=NAME (names: {OBSERVATIONS}, {ACTIONS}, {REWARDS}, {TERMINALS}, {DISCOUNTS}, {TIMEOUTS}, "
            f"{NEXT_OBSERVATIONS})"
        )
    _require_all_next(targets, described, where)
    return targets


def _guessed(names: Sequence[str], said: Mapping[str, str]) -> dict[str, str]:
    """Return what columns are by their names, but for those of which the user says what they are."""
    tops = list(dict.fromkeys(name.partition("/")[0] for name in names if name not in said))
    found = candidates([top for top in tops if top not in said], {})
    return {column: role for role, columns in found.items() if role in _UNDERSTOOD for column in columns}


def _require_all_next(targets: Sequence[str], described: str, where: str) -> None:
    observed = [target for target in targets if is_observation(target)]
    following = {target for target in targets if target.partition("/")[0] == NEXT_OBSERVATIONS}
    if following and following != {next_name(name) for name in observed}:
        raise FormatError(
            f"{where}: expected a next observation for each of {listed(observed)}, found "
            f"{listed(sorted(following))}; it has {described}"
        )
