"""What flat arrays of consecutive steps can hold of a buffer, and what they cannot."""

from __future__ import annotations

from rlbuffers.listing import listed
from rlbuffers.reader import Buffer
from rlbuffers.schema import EPISODE_WHOLE, TERMINALS, TIMEOUTS, next_name

__all__ = ["flat_names", "lost_in_flat_arrays"]


def flat_names(buffer: Buffer) -> list[str]:
    """Return the columns to write: all, but for next observations of which the source held none beyond the rows.

    If no episode's last observation is known, next observations repeat the rows and say nothing new.
    """
    derived = {next_name(name) for name in buffer.spec.observation_names}
    if _knows_some_final(buffer):
        return buffer.spec.batch_names
    return [name for name in buffer.spec.batch_names if name not in derived]


def _knows_some_final(buffer: Buffer) -> bool:
    return buffer.spec.layout != "episodes" or len(buffer.rows_without_next) < buffer.num_episodes


def lost_in_flat_arrays(buffer: Buffer) -> list[str]:
    """Name what a reader of the flat arrays cannot know, a sentence each."""
    if buffer.spec.layout != "episodes":
        return [
            "that rows are independent: readers that take the following row's observation as the next one, as D4RL's "
            "qlearning_dataset does, must use next_observations instead"
        ]
    found = []
    if buffer.spec.episode_columns:
        found.append(f"what each episode has once: {listed(buffer.spec.episode_columns)}")
    unknown = len(buffer.rows_without_next)
    if not _knows_some_final(buffer):
        found.append("next_observations: the last one of each episode is not known, the others are the following rows")
    elif unknown:
        found.append(f"that next_observations of {unknown:,} rows that end an episode are not known: zeros stand there")
    if {TERMINALS, TIMEOUTS} <= set(buffer.spec.columns):
        ends = buffer.arrays["episodes/starts"].all() + buffer.arrays["episodes/lengths"].all() - 1
        flags = buffer.rows(ends, [TERMINALS, TIMEOUTS])
        gone_on_from = int(buffer.arrays[TERMINALS].all().sum() - flags[TERMINALS].sum())
        if gone_on_from:
            found.append(
                f"that play goes on after {gone_on_from:,} terminals: a reader that does not know such data ends an "
                "episode at each"
            )
        unmarked = int((~(flags[TERMINALS] | flags[TIMEOUTS]))[:-1].sum())
        if unmarked:
            found.append(f"where {unmarked:,} episodes end that were cut with neither terminal nor timeout")
        told = int((~buffer.arrays[EPISODE_WHOLE].all() & (flags[TERMINALS] | flags[TIMEOUTS])).sum())
        if told:
            found.append(f"that {told:,} episodes were not recorded from beginning to end (episodes/whole)")
    return found
