"""Rules of how episodes end: by a terminal, by a timeout, and at their end only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from rlbuffers.reader import Buffer
from rlbuffers.remarks import equal_ends, equal_ends_text, long_episodes_text, partial_episodes_text, time_limit_of
from rlbuffers.schema import EPISODE_LENGTHS, EPISODE_WHOLE, TERMINALS, TIMEOUTS
from rlbuffers.task_ends import can_terminate, impossible_terminals
from rlbuffers.validation.buffer_parts import Array, episode_ends
from rlbuffers.validation.finding import Finding

__all__ = ["episodes_within_limit", "terminals_at_limits", "terminals_plausible", "timeouts_plausible"]


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
    found = equal_ends(
        buffer.arrays[EPISODE_LENGTHS].all(),
        terminals[last],
        buffer.arrays[EPISODE_WHOLE].all(),
        inside=_inside_episodes(buffer, terminals) > 0,
        by_timeout=TIMEOUTS in buffer.spec.columns and bool((buffer.arrays[TIMEOUTS].all() & ~terminals).any()),
    )
    if found:
        text = equal_ends_text(**found, limit=time_limit_of(buffer.metadata))
        yield Finding("terminals-at-limits", "warning", text)


def episodes_within_limit(buffer: Buffer) -> Iterator[Finding]:
    """Episodes are no longer than the stated limit, and were recorded from beginning to end."""
    if buffer.spec.layout != "episodes":
        return
    lengths, limit = buffer.arrays[EPISODE_LENGTHS].all(), time_limit_of(buffer.metadata)
    if limit is not None and lengths.max() > limit:
        text = long_episodes_text(int(lengths.max()), limit, int((lengths > limit).sum()))
        yield Finding("episode-lengths", "note", text)
    partial = int((~buffer.arrays[EPISODE_WHOLE].all()).sum())
    if partial:
        yield Finding("episode-lengths", "note", partial_episodes_text(partial))


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
    last = episode_ends(buffer)
    ended = (
        timeouts[last] | buffer.arrays[TERMINALS].all()[last] if TERMINALS in buffer.spec.columns else timeouts[last]
    )
    if not (ended | ~whole).all():
        count = int((~ended & whole).sum())
        yield Finding("timeouts-plausible", "warning", f"{count:,} episodes end with neither terminal nor timeout")


def _inside_episodes(buffer: Buffer, flags: Array) -> int:
    return int(flags.sum() - flags[episode_ends(buffer)].sum())
