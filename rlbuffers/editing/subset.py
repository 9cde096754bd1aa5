"""`subset`: the first, or a random, part of a buffer.

What is chosen, exactly:

- Independent transitions: the first rows, or rows drawn without replacement; the size is met exactly. By
  ``episodes`` all rows of drawn ``episode_ids`` are taken.
- Episodes: whole ones, in the order of the buffer (``first``) or in drawn order (``random``, ``episodes``), until
  the size is reached. The last one of them is kept whole, so there may be more transitions than were asked
  for by less than its length; with `cut` it ends where the size is reached, and is no longer marked as whole.

Rows and episodes keep the order that they have in the buffer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from rlbuffers.editing.derivation import BufferOrPath, EditReport, OnProgress, derive, opened
from rlbuffers.editing.episode_ids import ids_of_episodes
from rlbuffers.errors import UnsupportedError, UsageError
from rlbuffers.reader import Buffer
from rlbuffers.schema import EPISODE_IDS, EPISODE_LENGTHS
from rlbuffers.sources.buffer_selection import BufferSelection

__all__ = ["By", "subset"]

By = Literal["first", "random", "episodes"]
_CHOICES = ("first", "random", "episodes")
Indices = np.ndarray[Any, np.dtype[np.int64]]


def subset(
    buffer: BufferOrPath,
    output: str | Path,
    size: int | float,
    *,
    by: By = "first",
    seed: int = 0,
    cut: bool = False,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> EditReport:
    """Write a part of a buffer as a new one.

    Parameters
    ----------
    buffer : Buffer, str or Path
        What to take from.
    output : str or Path
        The new buffer.
    size : int or float
        Number of transitions, or as a float a fraction of them, above 0 and at most 1.
    by : {"first", "random", "episodes"}, default "first"
        See the module's docstring.
    seed : int, default 0
        Of what is drawn.
    cut : bool, default False
        Whether the last chosen episode may be cut to meet the size exactly.
    overwrite : bool, default False
        Whether an existing buffer is replaced once the new one is whole.
    on_progress : callable, optional
        Is given (transitions so far, transitions in all).

    Raises
    ------
    UsageError
        If the size is none, or larger than the buffer.
    UnsupportedError
        If independent transitions were to be chosen by episodes and have no ``episode_ids``.

    Examples
    --------
    >>> import rlbuffers
    >>> rlbuffers.subset("runs.hdf5", "first.hdf5", 30).written.transitions
    30
    >>> rlbuffers.subset("runs.hdf5", "half.hdf5", 0.5, by="random", seed=1).written.transitions  # whole episodes
    60
    """
    with opened(buffer) as parent:
        wanted = _transitions_of(size, parent)
        if by not in _CHOICES:
            raise UsageError(f"by={by!r}: expected one of {', '.join(_CHOICES)}")
        generator = np.random.default_rng(seed)
        source = (_chosen_episodes if parent.spec.layout == "episodes" else _chosen_rows)(
            parent, wanted, by, generator, cut=cut
        )
        arguments = {"size": size, "by": by, "cut": cut, **({"seed": seed} if by != "first" else {})}
        more = source.total - wanted
        notes = [f"{more:,} transitions more than {wanted:,}: the last chosen episode is kept whole"] if more else []
        return derive(
            source, output, "subset", arguments, [parent], overwrite=overwrite, on_progress=on_progress, notes=notes
        )


def _transitions_of(size: int | float, buffer: Buffer) -> int:
    count = len(buffer)
    if isinstance(size, float):
        if not 0 < size <= 1:
            raise UsageError(f"size {size}: a fraction must be above 0 and at most 1; give whole numbers without a dot")
        return max(round(size * count), 1)
    if not 0 < size <= count:
        raise UsageError(f"size {size:,}: {buffer.path} has {count:,} transitions; choose 1 to {count:,}")
    return size


def _chosen_episodes(
    buffer: Buffer, wanted: int, by: By, generator: np.random.Generator, *, cut: bool
) -> BufferSelection:
    lengths = buffer.arrays[EPISODE_LENGTHS].all()
    order = np.arange(len(lengths)) if by == "first" else generator.permutation(len(lengths))
    ends = np.cumsum(lengths[order])
    count = int(np.searchsorted(ends, wanted)) + 1
    kept = lengths[order[:count]]
    if cut:
        kept[-1] -= ends[count - 1] - wanted
    ascending = np.argsort(order[:count])
    return BufferSelection(buffer, order[:count][ascending], lengths=kept[ascending])


def _chosen_rows(buffer: Buffer, wanted: int, by: By, generator: np.random.Generator, *, cut: bool) -> BufferSelection:
    if by == "first":
        rows: Indices = np.arange(wanted)
    elif by == "random":
        rows = np.sort(generator.choice(len(buffer), wanted, replace=False))
    else:
        rows = _rows_of_drawn_ids(buffer, wanted, generator)
        rows = rows[:wanted] if cut else rows
        rows = np.sort(rows)
    return BufferSelection(buffer, rows)


def _rows_of_drawn_ids(buffer: Buffer, wanted: int, generator: np.random.Generator) -> Indices:
    """Return the rows of as many drawn episodes as it takes, episode after episode."""
    if EPISODE_IDS not in buffer.spec.columns:
        raise UnsupportedError(
            f"{buffer.path}: independent transitions without a column {EPISODE_IDS!r} cannot be chosen by episodes; "
            "choose by 'first' or 'random'"
        )
    _, inverse, counts = np.unique(ids_of_episodes(buffer), return_inverse=True, return_counts=True)
    order = generator.permutation(len(counts))
    number = int(np.searchsorted(np.cumsum(counts[order]), wanted)) + 1
    place = np.full(len(counts), len(counts))
    place[order[:number]] = np.arange(number)
    places = place[inverse]
    by_episode: Indices = np.argsort(places, kind="stable")
    return by_episode[: int((places < number).sum())]
