"""`split`: a buffer as several, none of which stands there before all do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.atomic import AtomicPath, publish_all
from rlbuffers.editing.derivation import BufferOrPath, EditReport, OnProgress, derive, opened, require_output
from rlbuffers.errors import UnsupportedError, UsageError
from rlbuffers.listing import listed
from rlbuffers.paths import Url
from rlbuffers.reader import Buffer
from rlbuffers.sources.buffer_selection import BufferSelection
from rlbuffers.stores import FORMATS

__all__ = ["split"]

Indices = np.ndarray[Any, np.dtype[np.int64]]


def split(
    buffer: BufferOrPath,
    folder: str | Path | None = None,
    *,
    fractions: Sequence[float] | None = None,
    parts: int | None = None,
    episodes_per_part: int | None = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
    format_name: str | None = None,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> list[EditReport]:
    """Divide the episodes of a buffer, or its independent transitions, among new buffers.

    Exactly one of `fractions`, `parts` and `episodes_per_part` says how. Fractions are of the number of episodes,
    which are drawn at random; the other two cut the buffer in its own order. The parts keep that order too.

    Parameters
    ----------
    buffer : Buffer, str or Path
        What to divide.
    folder : str or Path, optional
        Where the parts are written, as ``STEM-NAME.SUFFIX``; beside the buffer by default.
    fractions : sequence of float, optional
        One for each part; they sum to 1.
    parts : int, optional
        Number of parts of the same size, give or take one episode.
    episodes_per_part : int, optional
        Episodes of each part; the last one may have fewer.
    names : sequence of str, optional
        Of the parts; ``00001-of-00003``, ... by default.
    seed : int, default 0
        Of the drawing, for `fractions`.
    format_name : str, optional
        Container of the parts; that of the buffer by default.
    overwrite : bool, default False
        Whether existing buffers are replaced, once all parts are whole.
    on_progress : callable, optional
        Is given (transitions so far, transitions in all), over all parts.

    Returns
    -------
    list of EditReport
        One for each part.

    Raises
    ------
    UsageError
        If it is not said how, or a part would be empty.
    UnsupportedError
        If independent transitions were to be divided by episodes.

    Examples
    --------
    >>> import rlbuffers
    >>> train, test = rlbuffers.split("runs.hdf5", fractions=[0.75, 0.25], names=["train", "test"])
    >>> train.path.name, train.written.episodes, test.written.episodes
    ('runs-train.hdf5', 3, 1)
    """
    with opened(buffer) as parent:
        chosen, arguments = _chosen(parent, fractions, parts, episodes_per_part, seed)
        paths = _paths(parent, folder, names, len(chosen), format_name)
        for path in paths:
            require_output(path, [parent])
        sources = [BufferSelection(parent, numbers) for numbers in chosen]
        return _written(parent, sources, paths, arguments, overwrite=overwrite, on_progress=on_progress)


def _written(
    parent: Buffer,
    sources: Sequence[BufferSelection],
    paths: Sequence[Path],
    arguments: dict[str, Any],
    *,
    overwrite: bool,
    on_progress: OnProgress | None,
) -> list[EditReport]:
    """Write every part under a temporary name, then give all of them theirs."""
    total = sum(source.total for source in sources)
    reports: list[EditReport] = []
    with ExitStack() as stack:
        targets = []
        for path in paths:
            targets.append(AtomicPath(path, overwrite=overwrite))
            stack.callback(targets[-1].discard)
        before = 0
        for number, (source, target) in enumerate(zip(sources, targets, strict=True)):
            report = derive(
                source,
                target.final,
                "split",
                {**arguments, "part": number, "name": target.final.name},
                [parent],
                overwrite=overwrite,
                on_progress=_shifted(on_progress, before, total),
                into=target.partial,
            )
            reports.append(report)
            before += source.total
        publish_all(targets)
    return reports


def _shifted(on_progress: OnProgress | None, before: int, total: int) -> OnProgress | None:
    return None if on_progress is None else lambda count, _: on_progress(before + count, total)


def _chosen(
    buffer: Buffer,
    fractions: Sequence[float] | None,
    parts: int | None,
    episodes_per_part: int | None,
    seed: int,
) -> tuple[list[Indices], dict[str, Any]]:
    """Return the numbers of the episodes, or rows, of each part, and what to say of the way."""
    if sum(way is not None for way in (fractions, parts, episodes_per_part)) != 1:
        raise UsageError("say how to split by one of: fractions, parts, episodes per part")
    in_episodes = buffer.spec.layout == "episodes"
    count = buffer.num_episodes if in_episodes else len(buffer)
    order: Indices = np.arange(count)
    if fractions is not None:
        if not all(0 < fraction < 1 for fraction in fractions) or not math.isclose(sum(fractions), 1, abs_tol=1e-6):
            raise UsageError(f"fractions {list(fractions)}: expected two or more numbers above 0 that sum to 1")
        order = np.random.default_rng(seed).permutation(count)
        bounds = [round(bound * count) for bound in np.cumsum(fractions)[:-1].tolist()]
        arguments: dict[str, Any] = {"fractions": list(fractions), "seed": seed}
    elif parts is not None:
        if not 2 <= parts <= count:
            raise UsageError(f"parts {parts}: expected 2 to {count:,}, one {'episode' if in_episodes else 'row'} each")
        bounds = [number * count // parts for number in range(1, parts)]
        arguments = {"parts": parts}
    else:
        if not in_episodes:
            raise UnsupportedError(f"{buffer.path}: independent transitions have no episodes; split into --parts")
        size = episodes_per_part or 0
        if not 0 < size < count:
            raise UsageError(f"episodes per part {size}: expected 1 to {count - 1:,}; {buffer.path} has {count:,}")
        bounds = list(range(size, count, size))
        arguments = {"episodes_per_part": size}
    chosen = [np.sort(numbers) for numbers in np.split(order, bounds)]
    if not all(len(numbers) for numbers in chosen):
        what = "episodes" if in_episodes else "rows"
        raise UsageError(f"{buffer.path}: {count:,} {what} are too few for {len(chosen)} such parts")
    return chosen, arguments


def _paths(
    buffer: Buffer, folder: str | Path | None, names: Sequence[str] | None, count: int, format_name: str | None
) -> list[Path]:
    names = names or [f"{number:05}-of-{count:05}" for number in range(1, count + 1)]
    if len(names) != count or len(set(names)) != count or any("/" in name or not name for name in names):
        raise UsageError(f"names {listed(names)}: expected {count} different names, without slashes")
    suffix = FORMATS[format_name].suffix if format_name else _suffix(buffer.path)
    place = buffer.path.with_name("_").parent if folder is None else Path(folder)
    stem = buffer.path.name.removesuffix(_suffix(buffer.path))
    return [place / f"{stem}-{name}{suffix}" for name in names]


def _suffix(path: Path | Url) -> str:
    """Return the end of a name that tells the container, which may have two dots."""
    known = [backend.suffix for backend in FORMATS.values() if backend.suffix and path.name.endswith(backend.suffix)]
    return max(known, key=len, default=path.suffix)
