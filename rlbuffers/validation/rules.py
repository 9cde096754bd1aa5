"""The rules of `validate`, each a function that yields findings, or nothing where all is well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xxhash

from rlbuffers.fingerprint import BLOCK_ROWS, ArrayDigest, block_digests, fingerprint_of
from rlbuffers.reader import Buffer
from rlbuffers.schema import (
    ACTIONS,
    EPISODE_LENGTHS,
    EPISODE_RETURNS,
    EPISODE_STARTS,
    EPISODE_WHOLE,
    FRAMES,
    NEXT_OBSERVATIONS,
    OBSERVATIONS,
    OVERRIDE_ROWS,
    REWARDS,
    STACK_INDEX,
    TERMINALS,
    TIMEOUTS,
    next_name,
)
from rlbuffers.spaces import count_outside

__all__ = ["ALL_IS_WELL", "RULES", "STRUCTURAL", "Finding", "Rule"]

Array = np.ndarray[Any, Any]
_MAX_BLOCK_BYTES = 32 << 20
_VIEW_ROWS_CHECKED = 32
_RETURN_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Finding:
    """The result of one rule, or one of its results.

    Parameters
    ----------
    rule : str
        Name of the rule.
    status : {"ok", "note", "warning", "error"}
        ``note`` is neither good nor bad.
    message : str
        What was found, with numbers.
    """

    rule: str
    status: Literal["ok", "note", "warning", "error"]
    message: str


Rule = Callable[[Buffer], Iterator[Finding]]


def _checksums(buffer: Buffer) -> Iterator[Finding]:
    """Every chunk decodes, passes its checksum, and the content has the stored fingerprint."""
    digests = []
    for name, rows in buffer.arrays.items():
        digest = ArrayDigest()
        for block in _blocks(buffer, name):
            digest.update(block_digests(block))
        found, stated = digest.hexdigest(), buffer.metadata["arrays"][name]["digest"]
        if found != stated:
            yield Finding("checksums", "error", f"array {name!r}: the content differs from what was written")
        digests.append((name, rows.array.dtype.name, rows.array.shape, found))
    if fingerprint_of(digests) != buffer.fingerprint:
        yield Finding("checksums", "error", "the content does not have the stored fingerprint")


def _blocks(buffer: Buffer, name: str) -> Iterator[Array]:
    """Yield the rows of an array in whole fingerprint blocks of bounded size."""
    rows = buffer.arrays[name]
    row_bytes = max(rows.array.nbytes // max(len(rows), 1), 1)
    count = max(_MAX_BLOCK_BYTES // row_bytes // BLOCK_ROWS, 1) * BLOCK_ROWS
    return rows.blocks(count)


def _equal_lengths(buffer: Buffer) -> Iterator[Finding]:
    """Episodes tile the rows; that all columns have one row a transition was checked when the buffer was opened."""
    if buffer.spec.layout == "episodes":
        lengths = buffer.arrays[EPISODE_LENGTHS].all()
        starts = buffer.arrays[EPISODE_STARTS].all()
        tiled = (lengths > 0).all() and (starts == np.cumsum(lengths) - lengths).all()
        if not tiled or lengths.sum() != len(buffer):
            yield Finding("equal-lengths", "error", "the episodes' starts and lengths do not tile the rows")


def _finite_values(buffer: Buffer) -> Iterator[Finding]:
    """No number is NaN or infinite."""
    for name, array in buffer.arrays.items():
        if array.array.dtype.kind == "f":
            bad = sum(int((~np.isfinite(block)).sum()) for block in _blocks(buffer, name))
            if bad:
                yield Finding("finite-values", "error", f"{name!r} holds {bad:,} values that are NaN or infinite")


def _values_in_space(buffer: Buffer) -> Iterator[Finding]:
    """Actions and other columns with a declared space stay inside it."""
    for name, column in buffer.spec.columns.items():
        if not column.space or name not in buffer.arrays:
            continue
        outside = sum(count_outside(block, column.space) for block in _blocks(buffer, name))
        if outside:
            status: Literal["error", "warning"] = "error" if name in (ACTIONS, "next_actions") else "warning"
            yield Finding("values-in-space", status, f"{outside:,} rows of {name!r} lie outside {dict(column.space)}")


def _terminals_plausible(buffer: Buffer) -> Iterator[Finding]:
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


def _timeouts_plausible(buffer: Buffer) -> Iterator[Finding]:
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
    last = _episode_ends(buffer)
    ended = (
        timeouts[last] | buffer.arrays[TERMINALS].all()[last] if TERMINALS in buffer.spec.columns else timeouts[last]
    )
    if not (ended | ~whole).all():
        count = int((~ended & whole).sum())
        yield Finding("timeouts-plausible", "warning", f"{count:,} episodes end with neither terminal nor timeout")


def _episode_ends(buffer: Buffer) -> Array:
    ends: Array = buffer.arrays[EPISODE_STARTS].all() + buffer.arrays[EPISODE_LENGTHS].all() - 1
    return ends


def _inside_episodes(buffer: Buffer, flags: Array) -> int:
    return int(flags.sum() - flags[_episode_ends(buffer)].sum())


def _next_observations_continue(buffer: Buffer) -> Iterator[Finding]:
    """A transition's next observation is the observation moved on by one step."""
    unknown = len(buffer.rows_without_next)
    if unknown:
        yield Finding(
            "next-observations",
            "note",
            f"{unknown:,} episodes end without their last observation, which the source does not hold; zeros stand "
            "there, and samplers draw such a row only if it is terminal",
        )
    if not buffer.spec.stack:
        if buffer.spec.layout == "transitions":
            yield Finding(
                "next-observations", "note", "rows are independent: whether next observations follow cannot be told"
            )
        return
    depth = buffer.spec.stack + 1
    num_frames = len(buffer.arrays[FRAMES])
    used = np.zeros(num_frames, bool)
    first_row = 0
    for block in _blocks(buffer, STACK_INDEX):
        if len(block) and (block.min() < 0 or block.max() >= num_frames):
            yield Finding("next-observations", "error", f"{STACK_INDEX!r} points outside the {num_frames:,} frames")
            return
        if (np.diff(block, axis=1) != 1).any():
            yield Finding("next-observations", "error", f"rows of {STACK_INDEX!r} are not {depth} frames in a row")
            return
        if (
            buffer.spec.layout == "transitions"
            and (block[:, 0] != np.arange(first_row, first_row + len(block)) * depth).any()
        ):
            yield Finding("next-observations", "error", f"rows of {STACK_INDEX!r} do not follow one another")
            return
        first_row += len(block)
        used[block.ravel()] = True
    if not used.all():
        yield Finding("next-observations", "warning", f"{int((~used).sum()):,} frames belong to no transition")
    if buffer.spec.layout == "episodes":
        firsts = buffer.arrays[STACK_INDEX].all()[:, 0]
        steps = np.diff(firsts)
        at_end = np.zeros(len(firsts), bool)
        at_end[_episode_ends(buffer)] = True
        if firsts[0] or (steps[~at_end[:-1]] != 1).any() or (steps[at_end[:-1]] != depth).any():
            yield Finding("next-observations", "error", "the stacks of an episode do not follow one another")
    elif len(buffer.arrays[OVERRIDE_ROWS]):
        rows = buffer.arrays[OVERRIDE_ROWS].all()
        if rows[0] < 0 or rows[-1] >= len(buffer) or (np.diff(rows) < 1).any():
            yield Finding("next-observations", "error", f"{OVERRIDE_ROWS!r} are not ascending rows of the buffer")
        yield Finding(
            "next-observations", "warning", f"{len(rows):,} next observations do not overlap with their observation"
        )


def _returns_equal_stored(buffer: Buffer) -> Iterator[Finding]:
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


def _no_duplicates(buffer: Buffer) -> Iterator[Finding]:
    """No episode, or in the transitions layout no row, stands in the buffer twice."""
    if buffer.spec.layout == "episodes":
        starts, lengths = (buffer.arrays[name].all() for name in (EPISODE_STARTS, EPISODE_LENGTHS))
        actions, rewards = (np.ascontiguousarray(buffer.arrays[name].all()) for name in (ACTIONS, REWARDS))
        seen: dict[bytes, int] = {}
        repeated = []
        for number, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
            digest = xxhash.xxh3_128(actions[start : start + length].tobytes())
            digest.update(rewards[start : start + length].tobytes())
            for name in buffer.spec.observation_names:
                digest.update(np.ascontiguousarray(buffer.rows([start, start + length - 1], [name])[name]).tobytes())
            if seen.setdefault(digest.digest(), number) != number:
                repeated.append((number, seen[digest.digest()]))
        if repeated:
            number, earlier = repeated[0]
            yield Finding(
                "no-duplicates",
                "warning",
                f"{len(repeated):,} of {len(starts):,} episodes repeat another one, "
                f"e.g. episode {number} repeats {earlier}",
            )
        return
    names = buffer.spec.batch_names
    rows_at_once = max(_MAX_BLOCK_BYTES // sum(buffer.spec.batch_column(name).row_bytes for name in names), 1)
    digests = np.empty((len(buffer), 2), np.uint64)
    for start in range(0, len(buffer), rows_at_once):
        block = buffer[start : start + rows_at_once]
        parts = np.concatenate([_bytes_of_rows(block[name]) for name in names], axis=1)
        for offset, row in enumerate(parts):
            digests[start + offset] = np.frombuffer(xxhash.xxh3_128_digest(row.data), np.uint64)
    distinct = len(np.unique(digests, axis=0))
    if distinct < len(buffer):
        yield Finding(
            "no-duplicates", "warning", f"{len(buffer) - distinct:,} of {len(buffer):,} rows repeat another row"
        )


def _bytes_of_rows(rows: Array) -> Array:
    return np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8)


def _counts_equal_stored(buffer: Buffer) -> Iterator[Finding]:
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


def _views_agree(buffer: Buffer) -> Iterator[Finding]:
    """What the container's own library shows under the D4RL names is what the buffer holds."""
    names = [OBSERVATIONS, NEXT_OBSERVATIONS] if buffer.spec.stack else []
    if buffer.spec.layout == "episodes" and not buffer.spec.stack:
        names = [next_name(name) for name in buffer.spec.observation_names]
    rows = np.unique(np.linspace(0, len(buffer) - 1, _VIEW_ROWS_CHECKED).astype(np.int64))
    for name in names:
        expected = buffer.rows(rows, [name])[name]
        found = buffer.stored_view(name, rows.tolist())
        if found is None:
            continue
        if (found.dtype, found.shape) != (expected.dtype, expected.shape):
            yield Finding("views-agree", "error", f"{name!r} has another type when read by the container's library")
            continue
        wrong = (_bytes_of_rows(found) != _bytes_of_rows(expected)).any(axis=1)  # NaN is equal to itself here
        if wrong.any():
            row = int(rows[wrong.argmax()])
            yield Finding("views-agree", "error", f"{name!r} of row {row} differs when read by the container's library")


def _chunks_in_place(buffer: Buffer) -> Iterator[Finding]:
    """The tables of chunks in the file say what the container's own library says."""
    for problem in buffer.container_problems():
        yield Finding("chunk-tables", "error", problem)


RULES: dict[str, Rule] = {
    "checksums": _checksums,
    "equal-lengths": _equal_lengths,
    "next-observations": _next_observations_continue,
    "counts": _counts_equal_stored,
    "finite-values": _finite_values,
    "values-in-space": _values_in_space,
    "terminals-plausible": _terminals_plausible,
    "timeouts-plausible": _timeouts_plausible,
    "returns-equal-stored": _returns_equal_stored,
    "no-duplicates": _no_duplicates,
    "views-agree": _views_agree,
    "chunk-tables": _chunks_in_place,
}
# Where one of these fails, rows cannot be put together, and rules that need them are left out.
STRUCTURAL = ("equal-lengths", "next-observations")
ALL_IS_WELL = {
    "checksums": "every chunk passes its checksum and the content has the stored fingerprint",
    "equal-lengths": "all columns have the same number of rows",
    "counts": "the counts in the metadata are those of the data",
    "finite-values": "no number is NaN or infinite",
    "values-in-space": "all values lie inside their declared spaces",
    "terminals-plausible": "terminals occur and fit the episodes",
    "timeouts-plausible": "timeouts fit the episodes and exclude terminals",
    "next-observations": "next observations continue their observations",
    "returns-equal-stored": "rewards sum to the stored returns",
    "no-duplicates": "nothing stands in the buffer twice",
    "views-agree": "the container's own library reads the same values",
    "chunk-tables": "the container's own library finds the chunks in the same places",
}
