"""`merge`: several buffers, one after the other, as one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rlbuffers.agreement import Part, disagreement, normalization_dispute
from rlbuffers.editing.derivation import BufferOrPath, EditReport, OnProgress, derive, described_parent, opened
from rlbuffers.errors import SpecError, UsageError
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
    each parent. Where two spaces of a column differ and one holds the other, the whole has the wider one.
    ``episode_ids`` that another parent has as well are moved past its own; ``source.parts`` state by how much.

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
        If two differ in layout, stack, columns, dtypes, shapes or normalization, or have spaces neither of which
        holds the other; names the first difference.

    Examples
    --------
    >>> import rlbuffers
    >>> report = rlbuffers.merge(["runs.hdf5", "more.hdf5"], "all.zarr")
    >>> report.written.transitions
    200
    """
    if len(buffers) < 2:
        raise UsageError("merge needs two buffers or more")
    with ExitStack() as stack:
        parents = [stack.enter_context(opened(buffer)) for buffer in buffers]
        _require_same(parents)
        copies = _copies(parents)
        source = ConcatenatedSource([BufferSelection(parent) for parent in parents], copies=copies)
        return derive(
            source,
            output,
            "merge",
            {},
            parents,
            overwrite=overwrite,
            on_progress=on_progress,
            described_parents=_with_ranges(parents),
            notes=[
                *source.disputes,
                *(
                    f"{parents[copy].path} holds the same as {parents[first].path}: every row stands in the new buffer "
                    "twice"
                    for copy, first in copies.items()
                ),
            ],
        )


def _require_same(parents: Sequence[Buffer]) -> None:
    parts = [Part(str(parent.path), parent.spec, parent.metadata) for parent in parents]
    for part, other in zip(parts[1:], parents[1:], strict=True):
        # First: what was normalized may have another dtype as well.
        normalized = normalization_dispute(parts[0], part)
        if normalized:
            raise SpecError(normalized)
        different = difference(parents[0].spec, other.spec)
        if different:
            what = different.partition(" ")[0]
            advice = _WHAT_TO_DO.get(what, "only buffers with the same columns, dtypes and shapes can be merged")
            raise SpecError(f"{other.path}: {different}, unlike {parents[0].path}; {advice}")
    disputed = disagreement(parts)
    if disputed:
        raise SpecError(disputed)


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


def _copies(parents: Sequence[Buffer]) -> dict[int, int]:
    """Return the numbers of parents that hold the same as one before, and which."""
    seen: dict[str, int] = {}
    firsts = {number: seen.setdefault(parent.fingerprint, number) for number, parent in enumerate(parents)}
    return {number: first for number, first in firsts.items() if first != number}
