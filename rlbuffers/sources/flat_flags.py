"""What flags of flat columns mean: which rows end the task, which only a recording.

A buffer has ``terminals`` (the task ended) and ``timeouts`` (a time limit, or the recording, ended).
Files have all sorts of flags instead, whose meaning depends on what stands beside them:

==========================================  ==============================================================
in the file                                 in the buffer
==========================================  ==============================================================
terminals, timeouts                         as they are
dones and terminals                         timeouts are the dones that are no terminals
dones and timeouts                          terminals are the dones that are no timeouts
dones alone                                 terminals, with a warning that time limits cannot be told
masks and terminals (OGBench)               terminals are masks == 0, timeouts the file's terminals
masks and dones (jaxrl)                     terminals are masks == 0, timeouts the other dones
masks alone                                 terminals are masks == 0
episode_starts alone (Stable Baselines)     neither: how an episode ended is not known
timeouts alone, if the user says so         timeouts; no terminals
==========================================  ==============================================================

What contradicts itself is refused; the user then says which column is which.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlbuffers.errors import FormatError
from rlbuffers.schema import TERMINALS, TIMEOUTS
from rlbuffers.sources.field_names import DONES, EPISODE_STARTS, MASKS

__all__ = ["Flags", "flags_of"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Flags:
    """Flags of a file, in a buffer's terms.

    Parameters
    ----------
    terminals : bool, shape (N,)
        Rows after which the task ended.
    timeouts : bool, shape (N,), or None
        Rows after which a time limit, or the recording, ended; None if the file does not tell.
    ends : bool, shape (N,), or None
        Rows that end an episode, where the file says it apart from terminals and timeouts.
    used : tuple of str
        Roles of the flags that say no more than these.
    starts_inside : bool, default False
        Whether the first row is known not to begin an episode.
    tells_limits : bool, default True
        Whether ends by time would be flagged, so that there are none without a flag.
    warnings, notes : tuple of str
        What to say about it.
    """

    terminals: Array
    timeouts: Array | None
    ends: Array | None = None
    used: tuple[str, ...] = ()
    starts_inside: bool = False
    tells_limits: bool = True
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def flags_of(given: Mapping[str, Array], names: Mapping[str, str], where: str, *, of_recordings: bool = False) -> Flags:
    """Tell terminals, timeouts and ends from the flags that a file has.

    Parameters
    ----------
    given : mapping of str to bool array of shape (N,)
        Flags by role, at least one; ``masks`` as stored, so False where the task ended.
    names : mapping of str to str
        What each is called in the file, for messages.
    where : str
        What is read, for messages.
    of_recordings : bool, default False
        Whether it is known that the file's terminals are ends of recordings, as in OGBench.

    Raises
    ------
    FormatError
        If two of them contradict each other; names both, and ``--map``.
    """
    if of_recordings and {TERMINALS, DONES, TIMEOUTS} & set(given):
        return _of_recordings(given, names)
    if MASKS in given:
        return _with_masks(given, names, where)
    if TERMINALS in given:
        return _with_terminals(given, names, where)
    if DONES in given:
        return _with_dones(given, names)
    if EPISODE_STARTS in given:
        return _with_starts(given, names)
    note = (
        f"{names[TIMEOUTS]!r} are ends by time, as was said, and nothing says where a task ended: no terminal is set."
    )
    return Flags(np.zeros_like(given[TIMEOUTS]), given[TIMEOUTS], notes=(note,))


def _of_recordings(given: Mapping[str, Array], names: Mapping[str, str]) -> Flags:
    """OGBench: terminals are ends of trajectories, the task ends where masks are 0."""
    role = next(role for role in (TERMINALS, DONES, TIMEOUTS) if role in given)
    timeouts = given[role] | given.get(TIMEOUTS, False)
    moved = f"{names[role]!r} are ends of recordings, as in all of OGBench, and became timeouts"
    if MASKS in given:
        note = f"{moved}; terminals are {names[MASKS]!r} == 0."
        return Flags(~given[MASKS], timeouts, timeouts, (DONES, MASKS), notes=(note,))
    note = f"{moved}. The file does not say where a task is done: no terminal is set."
    return Flags(np.zeros_like(timeouts), timeouts, timeouts, (DONES,), notes=(note,))


def _with_masks(given: Mapping[str, Array], names: Mapping[str, str], where: str) -> Flags:
    ended = ~given[MASKS]
    if TERMINALS in given:
        if np.array_equal(given[TERMINALS], ended):
            told = _with_terminals(given, names, where)
            return dataclasses.replace(told, used=(*told.used, MASKS))
        if np.array_equal(given[TERMINALS], ~ended) or TIMEOUTS in given:
            raise _contradiction(where, names[MASKS], names[TERMINALS], "masks are 0 where the task ended")
        warning = (
            f"The file's {names[TERMINALS]!r} were taken for ends of recordings and not of the task, since its "
            f"{names[MASKS]!r} are 0 elsewhere, as in OGBench: terminals are {names[MASKS]!r} == 0, timeouts are the "
            f"file's {names[TERMINALS]!r}."
        )
        return Flags(ended, given[TERMINALS], given[TERMINALS], (MASKS, DONES), warnings=(warning,))
    note = f"Terminals are {names[MASKS]!r} == 0."
    if DONES not in given:
        return Flags(ended, given.get(TIMEOUTS), used=(MASKS,), tells_limits=TIMEOUTS in given, notes=(note,))
    ends = given[DONES] | given.get(TIMEOUTS, False)
    # Where a task is done in the middle of a recording, play goes on.
    apart = ends if (ended & ~ends).any() else None
    notes = (f"{note} Timeouts are the other {names[DONES]!r}.",)
    return Flags(ended, ends & ~ended, apart, (MASKS, DONES), notes=notes)


def _with_terminals(given: Mapping[str, Array], names: Mapping[str, str], where: str) -> Flags:
    terminals, timeouts, dones = given[TERMINALS], given.get(TIMEOUTS), given.get(DONES)
    if dones is None:
        return Flags(terminals, timeouts, tells_limits=timeouts is not None)
    if timeouts is not None:
        if np.array_equal(dones, terminals | timeouts) or np.array_equal(dones, terminals):
            return Flags(terminals, timeouts, used=(DONES,))
        note = f"{names[DONES]!r} are not the terminals and timeouts together; they are kept as a column."
        return Flags(terminals, timeouts, notes=(note,))
    if np.array_equal(dones, terminals):
        return Flags(terminals, None, used=(DONES,), tells_limits=False)
    if (terminals & ~dones).any():
        raise _contradiction(where, names[DONES], names[TERMINALS], "a terminal ends an episode")
    note = f"The file has no timeouts: they are the {names[DONES]!r} that are not {names[TERMINALS]!r}."
    return Flags(terminals, dones & ~terminals, used=(DONES,), notes=(note,))


def _with_dones(given: Mapping[str, Array], names: Mapping[str, str]) -> Flags:
    dones, timeouts = given[DONES], given.get(TIMEOUTS)
    if timeouts is not None:
        note = f"Terminals are the {names[DONES]!r} that are not {names[TIMEOUTS]!r}."
        return Flags(dones & ~timeouts, timeouts, used=(DONES,), notes=(note,))
    warning = (
        f"The file has only {names[DONES]!r}, which do not tell the end of a task from a time limit. They became "
        "terminals, so no value is bootstrapped there. If a column says which episodes ended by time, name it with "
        "--map COLUMN=timeouts."
    )
    return Flags(dones, None, used=(DONES,), warnings=(warning,))


def _with_starts(given: Mapping[str, Array], names: Mapping[str, str]) -> Flags:
    starts = given[EPISODE_STARTS]
    warning = (
        f"The file says where episodes start ({names[EPISODE_STARTS]!r}), not how they ended: no terminal is set. What "
        "was observed after an episode's last action is not known either, so its last row is not drawn as a transition."
    )
    return Flags(
        np.zeros_like(starts),
        given.get(TIMEOUTS),
        np.append(starts[1:], False),
        (EPISODE_STARTS,),
        starts_inside=not starts[:1].all(),
        warnings=(warning,),
    )


def _contradiction(where: str, first: str, second: str, rule: str) -> FormatError:
    return FormatError(
        f"{where}: {first!r} and {second!r} contradict each other ({rule}); say what they are with --map, such as "
        f"--map {first}=infos/{first} for a column without this meaning"
    )
