"""Rules of how episodes end: by a terminal, by a timeout, and at their end only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from rlbuffers.reader import Buffer
from rlbuffers.schema import EPISODE_WHOLE, TERMINALS, TIMEOUTS
from rlbuffers.validation.buffer_parts import Array, episode_ends
from rlbuffers.validation.finding import Finding

__all__ = ["terminals_plausible", "timeouts_plausible"]


def terminals_plausible(buffer: Buffer) -> Iterator[Finding]:
    """Some transitions end the task, not all do, and in episodes only the last one."""
    if TERMINALS not in buffer.spec.columns:
        yield Finding("terminals-plausible", "warning", "there is no column 'terminals'")
        return
    terminals = buffer.arrays[TERMINALS].all()
    count = int(terminals.sum())
    if count == 0:
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
            expected = buffer.metadata.get("environment", {}).get("terminals_end_episodes") is False
            status: Literal["note", "warning"] = "note" if expected else "warning"
            yield Finding("terminals-plausible", status, f"{inside:,} terminals stand before the end of an episode")


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
