"""`merge`: several buffers, one after the other, as one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rlbuffers.editing.derivation import BufferOrPath, EditReport, OnProgress, derive, described_parent, opened
from rlbuffers.errors import SpecError, UsageError
from rlbuffers.paths import Url
from rlbuffers.reader import Buffer
from rlbuffers.sources.buffer_selection import BufferSelection
from rlbuffers.sources.concatenated import ConcatenatedSource, difference

__all__ = ["merge"]

_WHAT_TO_DO = {
    "layout": "convert their sources with the same --layout",
    "order": "one of them has lost its order; convert its source again, or merge only buffers of one order",
    "stack": "convert their sources with the same number of stacked frames",
}


def merge(
    buffers: Sequence[BufferOrPath],
    output: str | Path,
    *,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> EditReport:
    """Write all rows of several buffers, in the order given, as one buffer.

    What the parents all say of environment, behavior policy, license and so on is said of the whole; what
    only some say is kept in ``source.parts``, with the rows that it is true of. Extras get a folder for
    each parent.

    Parameters
    ----------
    buffers : sequence of Buffer, str or Path
        Two or more, with the same columns.
    output : str or Path
        The new buffer.
    overwrite : bool, default False
        Whether an existing buffer is replaced once the new one is whole.
    on_progress : callable, optional
        Is given (transitions so far, transitions in all).

    Raises
    ------
    UsageError
        If there are fewer than two.
    SpecError
        If two differ in layout, stack, columns, dtypes or shapes; names the first difference.
    """
    if len(buffers) < 2:
        raise UsageError("merge needs two buffers or more")
    with ExitStack() as stack:
        parents = [stack.enter_context(opened(buffer)) for buffer in buffers]
        for parent in parents[1:]:
            _require_same(parents[0], parent)
        source = ConcatenatedSource([BufferSelection(parent) for parent in parents])
        return derive(
            source,
            output,
            "merge",
            {},
            parents,
            overwrite=overwrite,
            on_progress=on_progress,
            described_parents=_with_ranges(parents),
            notes=_repeated(parents),
        )


def _require_same(first: Buffer, other: Buffer) -> None:
    different = difference(first.spec, other.spec)
    if first.metadata.get("normalization") != other.metadata.get("normalization"):
        raise SpecError(
            f"{other.path}: its observations are normalized in another way than those of {first.path}; merge the "
            "buffers that they come from, and normalize the result"
        )
    if different:
        what = different.partition(" ")[0]
        advice = _WHAT_TO_DO.get(what, "only buffers with the same columns, dtypes and shapes can be merged")
        raise SpecError(f"{other.path}: {different}, unlike {first.path}; {advice}")


def _with_ranges(parents: Sequence[Buffer]) -> list[dict[str, Any]]:
    """Describe the parents, each with the rows and episodes of the new buffer that are its."""
    described, row, episode = [], 0, 0
    for parent in parents:
        ranges = {"first_row": row, "transitions": len(parent)}
        if parent.spec.layout == "episodes":
            ranges.update(first_episode=episode, episodes=parent.num_episodes)
        described.append(described_parent(parent, **ranges))
        row, episode = row + len(parent), episode + parent.num_episodes
    return described


def _repeated(parents: Sequence[Buffer]) -> list[str]:
    seen: dict[str, Path | Url] = {}
    return [
        f"{parent.path} holds the same as {seen[parent.fingerprint]}: every row stands in the new buffer twice"
        for parent in parents
        if seen.setdefault(parent.fingerprint, parent.path) is not parent.path
    ]
