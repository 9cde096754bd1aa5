"""What values a column may hold: ``{"type": "discrete", "n": 4}`` or ``{"type": "box", "low": .., "high": ..}``.

Discrete values are 0 to n - 1, or begin at ``start`` where that key is given.
Bounds are one number, or nested lists of a row's shape; null (None) where there is no bound, since
JSON has no word for infinity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rlbuffers.errors import SpecError

__all__ = ["checked_space", "count_outside", "restricts"]

Array = np.ndarray[Any, Any]


def checked_space(space: Mapping[str, Any], dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """Return a space as JSON values, after checking that rows can be compared with it.

    Parameters
    ----------
    space : mapping
        Bounds may be arrays and may be infinite. Keys beyond those above are kept.
    dtype, shape
        Of the column's rows.

    Raises
    ------
    SpecError
        If the type is neither, a key is missing, or a bound has another shape.
    """
    kind = space.get("type")
    if kind == "discrete":
        size = space.get("n")
        if dtype.kind not in "biu" or not isinstance(size, int | np.integer) or size < 1:
            raise SpecError(f"space {dict(space)}: expected whole numbers (got {dtype}) and n of at least 1")
        start = space.get("start", 0)
        if not isinstance(start, int | np.integer):
            raise SpecError(f"space {dict(space)}: expected a whole number as start")
        return {**space, "n": int(size), **({"start": int(start)} if start else {})}
    if kind != "box":
        raise SpecError(f"space {dict(space)}: expected type 'discrete' or 'box'")
    return {**space, **{key: _checked_bound(space.get(key), shape) for key in ("low", "high")}}


def _checked_bound(bound: Any, shape: tuple[int, ...]) -> Any:
    values = np.array(bound, dtype=object)
    if values.ndim and values.size != math.prod(shape):
        raise SpecError(f"space: a bound has shape {values.shape}, the rows have {shape}")
    try:
        numbers = [None if value is None or not math.isfinite(value) else value for value in values.ravel().tolist()]
    except TypeError as error:
        raise SpecError(f"space: the bound {bound!r} is no number and no list of the rows' shape") from error
    plain = [number.item() if isinstance(number, np.generic) else number for number in numbers]
    return np.array(plain, dtype=object).reshape(shape).tolist() if values.ndim else plain[0]


def count_outside(rows: Array, space: Mapping[str, Any]) -> int:
    """Count the rows of which any element lies outside a checked space; NaN lies nowhere and is not counted."""
    if space["type"] == "discrete":
        start = space.get("start", 0)
        outside = (rows < start) | (rows >= start + space["n"])
    else:
        outside = (rows < _bound(space["low"], -np.inf)) | (rows > _bound(space["high"], np.inf))
    return int(outside.reshape(len(rows), -1).any(axis=1).sum())


def restricts(space: Mapping[str, Any] | None, dtype: np.dtype[Any]) -> bool:
    """Whether a checked space says more than the dtype: a box of all that it can hold does not."""
    if space is None or space["type"] == "discrete" or len(space) > 3:  # more keys say what kind of box it is
        return space is not None
    if dtype.kind == "b":
        lowest, highest = 0.0, 1.0
    else:
        limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
        lowest, highest = float(limits.min), float(limits.max)
    low, high = _bound(space["low"], -np.inf), _bound(space["high"], np.inf)
    return not bool((low <= lowest).all() and (high >= highest).all())


def _bound(bound: Any, absent: float) -> Array:
    values = np.array(bound, dtype=np.float64)  # None becomes NaN
    return np.where(np.isnan(values), absent, values)
