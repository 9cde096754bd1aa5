"""A buffer's columns as Minari's descriptions of gymnasium spaces; the way there is in ``spaces.py``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rlbuffers.decoding.png_writer import PNG_CHANNELS
from rlbuffers.schema import OBSERVATIONS, ColumnSpec

__all__ = ["is_image", "is_png", "observation_space", "space_of"]

_MIN_IMAGE_SIDE = 32
_TUPLE_KEY = re.compile(r"_index_(0|[1-9]\d*)")


def observation_space(columns: Iterable[ColumnSpec]) -> dict[str, Any]:
    """Describe the observation columns of a buffer as one space.

    Columns ``observations/_index_0``, ``observations/_index_1``, ... are a Tuple, others with a
    ``/`` a Dict.
    """
    tree: dict[str, Any] = {}
    for column in columns:
        if column.name == OBSERVATIONS:
            return space_of(column)
        *folders, leaf = column.name.split("/")[1:]
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[leaf] = column
    return _nested(tree)


def _nested(tree: Mapping[str, Any]) -> dict[str, Any]:
    spaces = {key: space_of(value) if isinstance(value, ColumnSpec) else _nested(value) for key, value in tree.items()}
    in_order = [f"_index_{number}" for number in range(len(spaces))]
    if set(spaces) == set(in_order):
        return {"type": "Tuple", "subspaces": [spaces[key] for key in in_order]}
    return {"type": "Dict", "subspaces": spaces}


def space_of(column: ColumnSpec) -> dict[str, Any]:
    """Describe what values a column may hold; without a known space, all of its dtype."""
    space = column.space or {"type": "box", "low": None, "high": None}
    if "minari" in space:
        return dict(space["minari"])
    if space["type"] == "discrete" and not column.shape and column.dtype.kind in "iu":
        return {"type": "Discrete", "dtype": "int64", "start": space.get("start", 0), "n": space["n"]}
    if space["type"] == "discrete":
        first = space.get("start", 0)
        space = {"low": first, "high": first + space["n"] - 1}
    lowest, highest = _limits(column.dtype)
    return {
        "type": "Box",
        "dtype": column.dtype.name,
        "shape": list(column.shape),
        "low": _bound(space["low"], lowest, column.shape),
        "high": _bound(space["high"], highest, column.shape),
    }


def is_image(space: Mapping[str, Any]) -> bool:
    """Whether Minari (from 0.5.3 on) expects the values of a space as image files."""
    shape = space.get("shape", ())
    return (
        space["type"] == "Box"
        and space["dtype"] == "uint8"
        and len(shape) in (2, 3)
        and min(shape[:2]) >= _MIN_IMAGE_SIDE
        and bool((np.asarray(space["low"]) == 0).all())
        and bool((np.asarray(space["high"]) == np.iinfo(np.uint8).max).all())
    )


def is_png(space: Mapping[str, Any]) -> bool:
    """Whether the images of such a space come back from PNG files in the same shape: one channel has no axis there."""
    shape = space["shape"]
    return len(shape) == 2 or (shape[2] in PNG_CHANNELS and shape[2] > 1)


def _limits(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    if dtype.kind == "f":
        return -np.inf, np.inf
    if dtype.kind == "b":
        return 0, 1
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def _bound(bound: Any, absent: Any, shape: tuple[int, ...]) -> Any:
    """Fill a bound's gaps, and give it the shape of a value."""
    values = np.array(bound, dtype=object)
    given = np.array([value is not None for value in values.ravel()], bool).reshape(values.shape)
    filled = np.where(given, values, absent)
    return np.broadcast_to(filled, shape).tolist()
