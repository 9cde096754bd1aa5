"""What people call the columns of replay data, and which of them are which.

Formats that prescribe no names are read by the usual ones. Most names mean one thing; a name such as
``states`` means observations only where nothing else does, since it may as well be a simulator's state
beside them. Which column is which can be said with ``--map COLUMN=NAME`` everywhere.

Beside the columns of a buffer there are roles of flags that a buffer does not store as they are:

``dones``
    An episode ended, by its task or by time.
``not_dones``
    The same, the other way round.
``masks``
    0 where the task ended, so that no value follows (jaxrl, OGBench).
``episode_starts``
    The first row of each episode (Stable Baselines).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rlbuffers.errors import FormatError, UsageError
from rlbuffers.listing import listed, nearest
from rlbuffers.schema import ACTIONS, NEXT_OBSERVATIONS, OBSERVATIONS, REWARDS, TERMINALS, TIMEOUTS

__all__ = [
    "DISCOUNTS",
    "DONES",
    "EPISODE_STARTS",
    "MAP_EXAMPLE",
    "MASKS",
    "NOT_DONES",
    "candidates",
    "chosen_names",
    "heads_of",
    "known_name",
    "target_name",
]

DISCOUNTS = "discounts"
DONES = "dones"
NOT_DONES = "not_dones"
MASKS = "masks"
EPISODE_STARTS = "episode_starts"
MAP_EXAMPLE = "--map COLUMN=NAME, such as --map my_r=rewards"

# Names that mean one thing only, in lower case.
_USUAL = {
    OBSERVATIONS: ("observation", "obs", "obses", "obss", "ob", "obs_buf", "observation_buf"),
    NEXT_OBSERVATIONS: (
        "next_observation",
        "observations_next",
        "observation_next",
        "new_observations",
        "next_obs",
        "next_obses",
        "next_ob",
        "new_obs",
        "obs_next",
        "obs2",
        "obs_2",
        "obs_tp1",
        "next_obs_buf",
        "obs2_buf",
    ),
    ACTIONS: ("action", "act", "acts", "acs", "act_buf", "action_buf"),
    REWARDS: ("reward", "rew", "rews", "rew_buf", "reward_buf"),
    DISCOUNTS: ("discount",),
    TERMINALS: (
        "terminal",
        "terminated",
        "terminateds",
        "termination",
        "terminations",
        "is_terminal",
        "terminal_flags",
    ),
    TIMEOUTS: ("timeout", "truncated", "truncateds", "truncation", "truncations", "time_outs", "time_out"),
    DONES: ("done", "done_buf", "dones_float", "done_flags", "is_done"),
    NOT_DONES: ("not_done", "notdone", "notdones", "nonterminals", "non_terminals"),
    MASKS: ("not_done_no_max", "not_dones_no_max", "not_terminals", "not_terminal", "not_terminated"),
    EPISODE_STARTS: ("episode_start",),
}
# Names that are taken for it only if no usual one is there.
_LOOSE = {
    OBSERVATIONS: ("states", "state", "s", "state_buf"),
    NEXT_OBSERVATIONS: (
        "next_states",
        "next_state",
        "states_next",
        "new_states",
        "new_state",
        "s2",
        "s_next",
        "next_s",
    ),
    ACTIONS: ("a",),
    REWARDS: ("r",),
    DONES: ("d",),
}
_USUAL_NAMES = {alias: name for name, aliases in _USUAL.items() for alias in (name, *aliases)}
_LOOSE_NAMES = {alias: name for name, aliases in _LOOSE.items() for alias in aliases}


def known_name(name: str) -> str | None:
    """Return the role that a column's name means, if it is a usual one; case does not matter."""
    return _USUAL_NAMES.get(name.lower())


def heads_of(names: Iterable[str]) -> list[str]:
    """Return what can be named: columns, and the parts of nested names before a ``/``, each once."""
    parts = [name.split("/") for name in names]
    return list(dict.fromkeys("/".join(part[:depth]) for part in parts for depth in range(1, len(part) + 1)))


def candidates(heads: Sequence[str], taken: Mapping[str, str]) -> dict[str, list[str]]:
    """List the columns that may have a role, by the role.

    Parameters
    ----------
    heads : sequence of str
        Names of columns; of nested ones, the part before the first ``/``.
    taken : mapping of str to str
        Roles that are said to be somewhere; nothing else is a candidate for these.

    Returns
    -------
    dict of str to list of str
        Only roles that have a candidate; a column of the role's own name stands first.
    """
    found: dict[str, list[str]] = {}
    for head in heads:
        role = known_name(head)
        if role is not None and role not in taken:
            found.setdefault(role, []).append(head)
    loose: dict[str, list[str]] = {}
    for head in heads:
        role = _LOOSE_NAMES.get(head.lower())
        if role is not None and role not in taken and role not in found:
            loose.setdefault(role, []).append(head)
    # Beside observations of a usual name, states are a simulator's, and so are the next ones.
    if OBSERVATIONS in found and any(_LOOSE_NAMES.get(head.lower()) == OBSERVATIONS for head in heads):
        loose.pop(NEXT_OBSERVATIONS, None)
    return {role: sorted(names, key=lambda name: name != role) for role, names in (found | loose).items()}


def chosen_names(heads: Sequence[str], chosen: Mapping[str, str], where: str, described: str = "") -> dict[str, str]:
    """Say for each column that the user named what it is, whichever way round it was written.

    Parameters
    ----------
    heads : sequence of str
        What can be named: columns, and the parts of nested names before a ``/``.
    chosen : mapping of str to str
        Column to its name in the buffer; or the other way round, if only the right side is a column and the left one
        is a usual name.
    where : str
        What is read, for messages.
    described : str, optional
        The columns in words; their names otherwise.

    Returns
    -------
    dict of str to str
        Column to its name in the buffer; usual names of a role become the buffer's own, ``reward`` becomes ``rewards``.

    Raises
    ------
    UsageError
        If neither side is a column.
    FormatError
        If two columns get one name.
    """
    found: dict[str, str] = {}
    for left, right in chosen.items():
        is_turned = left not in heads and right in heads and known_name(left) is not None
        if left not in heads and not is_turned:
            hint = nearest(left, heads) or nearest(right, heads)
            raise UsageError(
                f"{where}: --map {left}={right}: there is no such column; it has "
                f"{described or listed(sorted(heads))}{hint}"
            )
        column, name = (right, left) if is_turned else (left, right)
        role = known_name(name) or name
        if role in found.values() and found.get(column) != role:
            other = next(other for other, taken in found.items() if taken == role)
            raise FormatError(f"{where}: more than one column would be {role}, by --map: {other} and {column}")
        found[column] = role
    return found


def target_name(name: str, said: Mapping[str, str], guessed: Mapping[str, str]) -> str:
    """Return the name in the buffer of a column.

    Parameters
    ----------
    name : str
        In the file; nested ones have ``/``.
    said : mapping of str to str
        What the user says of columns, or of parts of nested names before a ``/``; the longest part counts.
    guessed : mapping of str to str
        What columns, or parts of nested names before the first ``/``, are by their names.
    """
    parts = name.split("/")
    for depth in range(len(parts), 0, -1):
        head = "/".join(parts[:depth])
        if head in said:
            return "/".join([said[head], *parts[depth:]])
    return "/".join([guessed.get(parts[0], parts[0]), *parts[1:]])
