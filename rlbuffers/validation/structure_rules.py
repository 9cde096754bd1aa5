"""Rules of how rows hang together: episodes, stacks of frames, and what was counted and summed of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rlbuffers.reader import Buffer
from rlbuffers.schema import (
    EPISODE_LENGTHS,
    EPISODE_RETURNS,
    EPISODE_STARTS,
    FRAMES,
    OVERRIDE_ROWS,
    REWARDS,
    STACK_INDEX,
    TERMINALS,
    TIMEOUTS,
)
from rlbuffers.validation.buffer_parts import Array, blocks_of, episode_ends
from rlbuffers.validation.finding import Finding

__all__ = ["counts_equal_stored", "equal_lengths", "next_observations_continue", "returns_equal_stored"]

_RETURN_TOLERANCE = 1e-6


def equal_lengths(buffer: Buffer) -> Iterator[Finding]:
    """Episodes tile the rows; that all columns have one row a transition was checked when the buffer was opened."""
    if buffer.spec.layout == "episodes":
        lengths = buffer.arrays[EPISODE_LENGTHS].all()
        starts = buffer.arrays[EPISODE_STARTS].all()
        tiled = (lengths > 0).all() and (starts == np.cumsum(lengths) - lengths).all()
        if not tiled or lengths.sum() != len(buffer):
            yield Finding("equal-lengths", "error", "the episodes' starts and lengths do not tile the rows")


def next_observations_continue(buffer: Buffer) -> Iterator[Finding]:
    """A transition's next observation is the observation moved on by one step."""
    unknown = len(buffer.rows_without_next)
    if unknown:
        yield Finding(
            "next-observations",
            "note",
            f"{unknown:,} episodes end without their last observation, which the source does not hold; zeros stand "
            "there, and samplers draw such a row only if it is terminal",
        )
    if buffer.spec.stack:
        yield from _stacks_continue(buffer)
    elif buffer.spec.layout == "transitions":
        yield Finding(
            "next-observations", "note", "rows are independent: whether next observations follow cannot be told"
        )


def _stacks_continue(buffer: Buffer) -> Iterator[Finding]:
    used = np.zeros(len(buffer.arrays[FRAMES]), bool)
    problem = _mark_used(buffer, used)
    if problem is not None:
        yield Finding("next-observations", "error", problem)
        return
    if not used.all():
        yield Finding("next-observations", "warning", f"{int((~used).sum()):,} frames belong to no transition")
    if buffer.spec.layout == "episodes":
        yield from _stacks_follow(buffer)
    elif len(buffer.arrays[OVERRIDE_ROWS]):
        yield from _overrides_ascend(buffer)


def _mark_used(buffer: Buffer, used: Array) -> str | None:
    """Mark the frames that belong to a transition; return what is wrong with the index, if anything is."""
    depth = buffer.spec.stack + 1
    first_row = 0
    for block in blocks_of(buffer, STACK_INDEX):
        if len(block) and (block.min() < 0 or block.max() >= len(used)):
            return f"{STACK_INDEX!r} points outside the {len(used):,} frames"
        if (np.diff(block, axis=1) != 1).any():
            return f"rows of {STACK_INDEX!r} are not {depth} frames in a row"
        rows = np.arange(first_row, first_row + len(block))
        if buffer.spec.layout == "transitions" and (block[:, 0] != rows * depth).any():
            return f"rows of {STACK_INDEX!r} do not follow one another"
        first_row += len(block)
        used[block.ravel()] = True
    return None


def _stacks_follow(buffer: Buffer) -> Iterator[Finding]:
    firsts = buffer.arrays[STACK_INDEX].all()[:, 0]
    steps = np.diff(firsts)
    at_end = np.zeros(len(firsts), bool)
    at_end[episode_ends(buffer)] = True
    if firsts[0] or (steps[~at_end[:-1]] != 1).any() or (steps[at_end[:-1]] != buffer.spec.stack + 1).any():
        yield Finding("next-observations", "error", "the stacks of an episode do not follow one another")


def _overrides_ascend(buffer: Buffer) -> Iterator[Finding]:
    rows = buffer.arrays[OVERRIDE_ROWS].all()
    if rows[0] < 0 or rows[-1] >= len(buffer) or (np.diff(rows) < 1).any():
        yield Finding("next-observations", "error", f"{OVERRIDE_ROWS!r} are not ascending rows of the buffer")
    yield Finding(
        "next-observations", "warning", f"{len(rows):,} next observations do not overlap with their observation"
    )


def counts_equal_stored(buffer: Buffer) -> Iterator[Finding]:
    """The counts in the metadata are those of the data."""
    counts = buffer.metadata["counts"]
    for name in (TERMINALS, TIMEOUTS):
        if name in buffer.spec.columns:
            found = int(np.count_nonzero(buffer.arrays[name].all()))
            if counts.get(name) != found:
                yield Finding("counts", "error", f"the metadata says {counts.get(name)} {name}, the data hold {found}")
    if buffer.spec.layout == "episodes" and counts.get("episodes") != buffer.num_episodes:
        yield Finding(
            "counts", "error", f"the metadata says {counts.get('episodes')} episodes, not {buffer.num_episodes}"
        )


def returns_equal_stored(buffer: Buffer) -> Iterator[Finding]:
    """The rewards of an episode sum to its stored return."""
    rewards = buffer.arrays[REWARDS].all().astype(np.float64)
    if buffer.spec.layout == "episodes":
        with np.errstate(over="ignore", invalid="ignore"):
            sums = np.add.reduceat(rewards, buffer.arrays[EPISODE_STARTS].all())
        wrong = ~np.isclose(sums, buffer.arrays[EPISODE_RETURNS].all(), rtol=_RETURN_TOLERANCE, atol=_RETURN_TOLERANCE)
        if wrong.any():
            yield Finding(
                "returns-equal-stored",
                "error",
                f"{int(wrong.sum()):,} episodes, the first of them number {int(wrong.argmax())}",
            )
    elif {"episode_ids", "episode_returns"} <= set(buffer.spec.columns):
        ids, first, inverse = np.unique(buffer.arrays["episode_ids"].all(), return_index=True, return_inverse=True)
        stated = buffer.arrays["episode_returns"].all()
        unlike = int((stated != stated[first][inverse]).sum())
        if unlike:
            yield Finding("returns-equal-stored", "warning", f"{unlike:,} rows state another return than their episode")
        yield Finding(
            "returns-equal-stored",
            "note",
            f"rows of {len(ids):,} episodes, whose other rows are elsewhere: sums of rewards cannot be compared",
        )
