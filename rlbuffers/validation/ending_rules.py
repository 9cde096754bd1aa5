"""Rules of how episodes end: by a terminal, by a timeout, and at their end only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from rlbuffers.reader import Buffer
from rlbuffers.schema import EPISODE_LENGTHS, EPISODE_WHOLE, TERMINALS, TIMEOUTS
from rlbuffers.task_ends import can_terminate, impossible_terminals
from rlbuffers.validation.buffer_parts import Array, episode_ends
from rlbuffers.validation.finding import Finding

__all__ = ["terminals_at_limits", "terminals_plausible", "timeouts_plausible"]

# Fewer episodes of one length may be chance.
_EPISODES_OF_ONE_LENGTH = 5


def terminals_plausible(buffer: Buffer) -> Iterator[Finding]:
    """Some transitions end a task that can end, not all do, and in episodes only the last one."""
    if TERMINALS not in buffer.spec.columns:
        yield Finding("terminals-plausible", "warning", "there is no column 'terminals'")
        return
    terminals = buffer.arrays[TERMINALS].all()
    count = int(terminals.sum())
    environment = buffer.metadata.get("environment") or {}
    for problem in impossible_terminals(environment, count):
        yield Finding("terminals-plausible", "warning", problem)
    if count == 0 and can_terminate(environment) is False:
        task = environment.get("id") or "the task"
        yield Finding(
            "terminals-plausible", "ok", f"no transition is terminal, as it should be: {task} never terminates"
        )
    elif count == 0:
        yield Finding(
            "terminals-plausible",
            "warning",
            f"NOT ONE of {len(buffer):,} transitions is terminal. If the task can end, the source has lost its "
            "terminals (reported for whole RL Unplugged games whose discounts are all 1.0): values learned from it "
            "are wrong",
        )
    elif count == len(buffer):
        yield Finding("terminals-plausible", "warning", "every transition is terminal; the flag may be inverted")
    if buffer.spec.layout == "episodes":
        inside = _inside_episodes(buffer, terminals)
        if inside:
            # A source that knows better says so: in some data a terminal marks a goal that play goes on from.
            expected = environment.get("terminals_end_episodes") is False
            status: Literal["note", "warning"] = "note" if expected else "warning"
            yield Finding("terminals-plausible", status, f"{inside:,} terminals stand before the end of an episode")


def terminals_at_limits(buffer: Buffer) -> Iterator[Finding]:
    """Terminals do not only mark the ends of episodes of one length, as a time limit or a recording would end them."""
    if buffer.spec.layout != "episodes" or TERMINALS not in buffer.spec.columns:
        return
    terminals, last = buffer.arrays[TERMINALS].all(), episode_ends(buffer)
    lengths, ended = buffer.arrays[EPISODE_LENGTHS].all(), terminals[last]
    by_timeout = TIMEOUTS in buffer.spec.columns and bool((buffer.arrays[TIMEOUTS].all() & ~terminals).any())
    otherwise = buffer.arrays[EPISODE_WHOLE].all() & ~ended
    if by_timeout or otherwise.any() or _inside_episodes(buffer, terminals):
        return
    if len(lengths) > 1 and lengths[-1] < lengths[0]:  # the recording may have stopped before the last limit
        ended[-1] = False
    lengths = lengths[ended]
    if len(lengths) < _EPISODES_OF_ONE_LENGTH or lengths.min() != lengths.max() or lengths[0] == 1:
        return
    environment = buffer.metadata.get("environment") or {}
    is_limit = int(lengths[0]) in (environment.get("max_episode_steps"), environment.get("horizon"))
    yield Finding(
        "terminals-at-limits",
        "warning",
        f"{len(lengths):,} episodes have {lengths[0]:,} steps each{', the time limit,' * is_limit} and end by a "
        "terminal, and none ends by a timeout. If a time limit or the end of the recording ends them, these terminals "
        "are timeouts, and a value function stops at each of them instead of bootstrapping. How the data were recorded "
        "settles it: convert them again with this flag as the timeouts (`--map terminals=timeouts` for d4rl and npz), "
        "or leave it if the task itself ends after so many steps",
    )


def timeouts_plausible(buffer: Buffer) -> Iterator[Finding]:
    """Timeouts only end episodes, exclude terminals, and every episode ends by one of the two."""
    if TIMEOUTS not in buffer.spec.columns:
        yield Finding("timeouts-plausible", "note", "there is no column 'timeouts': time limits cannot be told")
        return
    timeouts = buffer.arrays[TIMEOUTS].all()
    if TERMINALS in buffer.spec.columns:
        both = int((timeouts & buffer.arrays[TERMINALS].all()).sum())
        if both:
            yield Finding("timeouts-plausible", "note", f"{both:,} transitions are terminal and timeout at once")
    if buffer.spec.layout != "episodes":
        return
    inside = _inside_episodes(buffer, timeouts)
    if inside:
        yield Finding("timeouts-plausible", "warning", f"{inside:,} timeouts stand before the end of an episode")
    whole = buffer.arrays[EPISODE_WHOLE].all()
    cut = int((~whole).sum())
    if cut:
        yield Finding("timeouts-plausible", "note", f"{cut:,} episodes were not recorded from beginning to end")
    last = episode_ends(buffer)
    ended = (
        timeouts[last] | buffer.arrays[TERMINALS].all()[last] if TERMINALS in buffer.spec.columns else timeouts[last]
    )
    if not (ended | ~whole).all():
        count = int((~ended & whole).sum())
        yield Finding("timeouts-plausible", "warning", f"{count:,} episodes end with neither terminal nor timeout")


def _inside_episodes(buffer: Buffer, flags: Array) -> int:
    return int(flags.sum() - flags[episode_ends(buffer)].sum())
