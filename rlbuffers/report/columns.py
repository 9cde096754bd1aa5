"""What the page shows of rewards, actions and observations: histograms and ranges, in one or two passes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rlbuffers.inspecting.action_names import action_names
from rlbuffers.reader import Buffer
from rlbuffers.report.histograms import Histogram, column_histograms, histogram, scan
from rlbuffers.schema import ACTIONS, REWARDS, ColumnSpec
from rlbuffers.stats import ColumnStatistics
from rlbuffers.writing.summary import MAX_COUNTED_ACTIONS

__all__ = ["action_figure", "is_image", "observation_figures", "reward_figure"]

Array = np.ndarray[Any, Any]
Json = dict[str, Any]
_BLOCK_BYTES = 8 << 20
_MAX_SINGLE = 64
"""Elements of a row that are drawn one by one; longer rows are drawn as bands over the number of the element."""
_MAX_ELEMENTS = 4096
_BINS = 40


def reward_figure(buffer: Buffer) -> Json | None:
    """Return the histogram of all rewards."""
    found = histogram(lambda: _blocks(buffer, REWARDS))
    return None if found is None else found.to_json()


def action_figure(buffer: Buffer) -> Json | None:
    """Return how often each discrete action was taken, or the histogram of each element of a continuous one."""
    column = buffer.spec.columns[ACTIONS]
    space = column.space or {}
    if space.get("type") == "discrete" and not column.shape and space["n"] <= MAX_COUNTED_ACTIONS:
        counts = buffer.metadata["statistics"].get("action_counts")
        first = int(space.get("start", 0))
        if counts is None:
            counts = _discrete_counts(buffer, first, int(space["n"]))
        names = action_names(buffer.metadata.get("environment") or {}, len(counts))
        return {"kind": "discrete", "first": first, "counts": list(counts), "names": names}
    if not column.shape and column.dtype.kind != "f":
        found = histogram(lambda: _blocks(buffer, ACTIONS))
        return None if found is None else {"kind": "values", **found.to_json()}
    return {"kind": "elements", **_elements(buffer, column)}


def observation_figures(buffer: Buffer) -> dict[str, Json]:
    """Return the ranges of each observation column that is no image, by name."""
    found = {}
    for name in buffer.spec.observation_names:
        column = buffer.spec.columns[name]
        if not is_image(column) and math.prod(column.shape) <= _MAX_ELEMENTS:
            found[name] = _elements(buffer, column)
    return found


def is_image(column: ColumnSpec) -> bool:
    """Whether rows look like images: bytes of two or three axes, none of the two larger ones below 8."""
    return column.dtype == np.uint8 and len(column.shape) in (2, 3) and sorted(column.shape)[-2] >= 8


def _elements(buffer: Buffer, column: ColumnSpec) -> Json:
    """Return minimum, mean, standard deviation and maximum of each element, and its histogram if there are few."""
    stated = _statistics(buffer, column)
    size = math.prod(column.shape)
    histograms: list[Histogram] = []
    if size <= _MAX_SINGLE:
        low, high = (np.array([np.nan if x is None else x for x in stated[key]]) for key in ("min", "max"))
        histograms = column_histograms(_blocks(buffer, column.name), low, high, _BINS)
        expected = len(buffer)
        if any(found.counts.sum() + found.not_finite != expected for found in histograms):  # not what the metadata say
            ranges = scan(_blocks(buffer, column.name))
            if ranges is not None:
                histograms = column_histograms(_blocks(buffer, column.name), ranges.low, ranges.high, _BINS)
    return {
        "size": size,
        "shape": list(column.shape),
        **stated,
        "histograms": [found.counts.tolist() for found in histograms],
        "notFinite": sum(found.not_finite for found in histograms),
    }


def _statistics(buffer: Buffer, column: ColumnSpec) -> Json:
    """Return flat lists of statistics: the metadata's, or, where they have none, of a pass over the rows."""
    stated = buffer.metadata["statistics"].get(column.name)
    if not isinstance(stated, Mapping) or "mean" not in stated:
        gathered = ColumnStatistics()
        for block in _blocks(buffer, column.name):
            gathered.update(block)
        stated = gathered.to_json()
    size = math.prod(column.shape)
    return {key: _flat_list(stated.get(key), size) for key in ("min", "max", "mean", "std")}


def _flat_list(values: Any, size: int) -> list[float | None]:
    flat = np.array(values if values is not None else [None] * size, dtype=object).ravel().tolist()
    return [None if value is None else float(value) for value in flat]


def _discrete_counts(buffer: Buffer, first: int, size: int) -> list[int]:
    counts = np.zeros(size, np.int64)
    for block in _blocks(buffer, ACTIONS):
        places = block.ravel().astype(np.int64) - first
        counts += np.bincount(places[(places >= 0) & (places < size)], minlength=size)
    return list(counts.tolist())


def _blocks(buffer: Buffer, name: str) -> Iterable[Array]:
    """Yield all rows of a stored column in order, some megabytes at a time."""
    rows = buffer.arrays[name]
    row_bytes = max(1, rows.array.nbytes // max(1, len(rows)))
    per_chunk = rows.array.chunk_rows
    at_once = max(1, _BLOCK_BYTES // row_bytes // per_chunk) * per_chunk
    return rows.blocks(at_once)
