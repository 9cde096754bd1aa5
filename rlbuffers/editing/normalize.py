"""`normalize`: observations with mean 0 and standard deviation 1, and the statistics that this takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.editing.derivation import BufferOrPath, EditReport, OnProgress, derive, opened
from rlbuffers.editing.normalizer import Normalizer
from rlbuffers.episode import Transitions
from rlbuffers.episode_block import EpisodeBlock
from rlbuffers.errors import UnsupportedError, UsageError
from rlbuffers.reader import Buffer
from rlbuffers.schema import BufferSpec, ColumnSpec, next_name
from rlbuffers.sources.base import Rows
from rlbuffers.sources.buffer_selection import BufferSelection
from rlbuffers.standardization import NORM_EPSILON
from rlbuffers.writing.summary import ColumnSummary

__all__ = ["DEFAULT_EPSILON", "StatisticsReport", "check_statistics", "normalize"]

Array = np.ndarray[Any, Any]
# What TD3+BC and its followers add to the standard deviation.
DEFAULT_EPSILON = NORM_EPSILON
_TOLERANCE = 1e-6
_BLOCK_BYTES = 16 << 20


@dataclass(frozen=True)
class StatisticsReport:
    """Statistics of the columns as stored, and as found by reading everything.

    Parameters
    ----------
    path : str
        The buffer.
    stored, found : dict of column to dict
        ``min``, ``max``, ``mean`` and ``std``, each a number or nested lists of the row's shape.
    wrong : list of str
        Columns whose stored statistics are not those found.
    """

    path: str
    stored: dict[str, Any]
    found: dict[str, Any]
    wrong: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


def check_statistics(buffer: BufferOrPath, *, on_progress: OnProgress | None = None) -> StatisticsReport:
    """Compute the statistics of all columns anew, in one pass, and compare them with the stored ones.

    Parameters
    ----------
    buffer : Buffer, str or Path
        What to read.
    on_progress : callable, optional
        Is given (columns so far, columns in all).
    """
    with opened(buffer) as parent:
        stored = {name: value for name, value in parent.metadata["statistics"].items() if name in parent.spec.columns}
        summary = ColumnSummary(parent.spec)
        for number, name in enumerate(stored, 1):
            observe, rows = summary.observer_of(name), parent.arrays[name]
            if observe is not None:
                for block in rows.blocks(max(_BLOCK_BYTES // max(rows.array.nbytes // len(rows), 1), 1)):
                    observe(block)
            if on_progress is not None:
                on_progress(number, len(stored))
        found = {name: value for name, value in summary.statistics().items() if name in stored}
        wrong = [name for name in stored if not _close(stored[name], found[name])]
        return StatisticsReport(str(parent.path), stored, found, wrong)


def _close(stored: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Compare statistics; rounding depends on how rows are cut, so differences are held against the range."""
    if set(stored) != set(found):
        return False
    arrays = [{name: np.array(value, np.float64) for name, value in side.items()} for side in (stored, found)]
    scale = np.abs(arrays[1]["max"]) + np.abs(arrays[1]["min"]) if "max" in arrays[1] else np.array(0.0)
    return all(
        ours.shape == arrays[1][name].shape
        and bool(np.all((np.abs(ours - arrays[1][name]) <= _TOLERANCE * scale) | _both_nan(ours, arrays[1][name])))
        for name, ours in arrays[0].items()
    )


def _both_nan(first: Array, second: Array) -> Array:
    both: Array = np.isnan(first) & np.isnan(second)
    return both


def normalize(
    buffer: BufferOrPath,
    output: str | Path,
    *,
    epsilon: float = DEFAULT_EPSILON,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> EditReport:
    """Write a buffer whose observations are ``(x - mean) / (std + epsilon)``.

    Mean and standard deviation are those of the buffer's metadata, element by element, for next and final
    observations too. They stand in the new buffer's metadata (``normalization``); `Normalizer.of` reads
    them, to do the same to the observations of an environment, or to undo it. Last observations that are
    not known stay zero.

    Parameters
    ----------
    buffer : Buffer, str or Path
        What to normalize; its observations are numbers or vectors.
    output : str or Path
        The new buffer.
    epsilon : float, default 1e-3
        Added to the standard deviation; at least 0.
    overwrite : bool, default False
        Whether an existing buffer is replaced once the new one is whole.
    on_progress : callable, optional
        Is given (transitions so far, transitions in all).

    Raises
    ------
    UsageError
        If the buffer is normalized already, or an element without spread would be divided by 0.
    UnsupportedError
        If its observations are images, or lack statistics.

    Examples
    --------
    >>> import rlbuffers
    >>> report = rlbuffers.normalize("runs.hdf5", "normalized.hdf5")
    >>> with rlbuffers.open("normalized.hdf5") as buffer:
    ...     normalizer = rlbuffers.Normalizer.of(buffer)  # for the observations of an environment
    """
    if epsilon < 0:
        raise UsageError(f"epsilon {epsilon}: expected 0 or more")
    with opened(buffer) as parent:
        normalizer = _normalizer(parent, epsilon)
        return derive(
            _NormalizedSelection(parent, normalizer),
            output,
            "normalize",
            {"epsilon": epsilon},
            [parent],
            overwrite=overwrite,
            on_progress=on_progress,
            facts={"normalization": normalizer.to_json()},
        )


def _normalizer(buffer: Buffer, epsilon: float) -> Normalizer:
    if "normalization" in buffer.metadata:
        raise UsageError(f"{buffer.path}: its observations are normalized already")
    if buffer.spec.stack:
        raise UnsupportedError(f"{buffer.path}: its observations are images; divide them by 255 when training instead")
    stored: dict[str, dict[str, Array]] = {"mean": {}, "std": {}}
    for name in buffer.spec.observation_names:
        statistics = buffer.metadata["statistics"].get(name)
        if not statistics or "not_finite" in statistics:
            why = "has values that are not finite" if statistics else "has no statistics (flags, or very large rows)"
            raise UnsupportedError(f"{buffer.path}: {name!r} {why}; it cannot be normalized")
        for key, values in stored.items():
            values[name] = np.array(statistics[key], np.float64)
        if not np.isfinite(stored["std"][name]).all() or (stored["std"][name] + epsilon == 0).any():
            raise UsageError(f"{buffer.path}: {name!r} has elements of no or no finite spread; give an epsilon above 0")
    dtypes = {name: buffer.spec.columns[name].dtype.name for name in buffer.spec.observation_names}
    return Normalizer(stored["mean"], stored["std"], dtypes, epsilon)


class _NormalizedSelection(BufferSelection):
    """A whole buffer with other observations."""

    def __init__(self, buffer: Buffer, normalizer: Normalizer) -> None:
        super().__init__(buffer)
        self._normalizer = normalizer
        self._observation_of = {name: name for name in buffer.spec.observation_names}
        if buffer.spec.layout == "transitions":
            self._observation_of.update({next_name(name): name for name in buffer.spec.observation_names})

    @property
    def spec(self) -> BufferSpec:
        """The buffer's own, with floating-point observations."""
        spec = self._buffer.spec
        columns = [
            self._column(column, self._observation_of[name]) if name in self._observation_of else column
            for name, column in spec.columns.items()
        ]
        return BufferSpec(spec.layout, columns, spec.order, spec.stack, spec.episode_columns, spec.extras)

    def _column(self, column: ColumnSpec, observation: str) -> ColumnSpec:
        space = dict(column.space) if column.space and column.space["type"] == "box" else None
        for key, absent in (("low", -np.inf), ("high", np.inf)) if space else ():
            bound = np.array(space[key], np.float64) if space else np.array(0.0)  # None becomes NaN
            moved = self._normalizer.apply(np.where(np.isnan(bound), absent, bound), observation)
            space = {**(space or {}), key: np.broadcast_to(moved, column.shape)}
        return ColumnSpec(column.name, self._normalizer.result_dtype(observation), column.shape, space)

    def pieces(self) -> Iterator[Rows]:
        """Yield the buffer's blocks, normalized."""
        for piece in super().pieces():
            columns = {**piece.columns, **self._applied(piece.columns)}
            if isinstance(piece, EpisodeBlock):
                finals = self._applied(piece.finals)
                for values in finals.values():
                    values[~piece.final_known] = 0
                yield dataclasses.replace(piece, columns=columns, finals=finals)
            elif isinstance(piece, Transitions):
                yield dataclasses.replace(piece, columns=columns)

    def _applied(self, columns: Mapping[str, Array]) -> dict[str, Array]:
        return {
            name: self._normalizer.apply(values, self._observation_of[name])
            for name, values in columns.items()
            if name in self._observation_of
        }
