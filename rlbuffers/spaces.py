"""What values a column may hold: ``{"type": "discrete", "n": 4}`` or ``{"type": "box", "low": .., "high": ..}``.

Discrete values are 0 to n - 1, or begin at ``start`` where that key is given.
Bounds are one number, or nested lists of a row's shape; null (None) where there is no bound, since
JSON has no word for infinity.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rlbuffers.errors import SpecError
from rlbuffers.listing import shortened

__all__ = ["checked_space", "count_outside", "described_space", "holds", "restricts", "without_disputes"]

Array = np.ndarray[Any, Any]
_MINARI = "minari"
# Bounds of rows larger than this are told by their least and their greatest.
_MOST_SHOWN = 8
_SHOWN = 200
_LARGEST = (1 << 63) - 1


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
            raise SpecError(f"space {_told(space)}: expected whole numbers (got {dtype}) and n of at least 1")
        start = space.get("start", 0)
        if not isinstance(start, int | np.integer) or not -_LARGEST <= int(start) <= _LARGEST - int(size) + 1:
            raise SpecError(f"space {_told(space)}: expected a whole number as start, and choices of at most 63 bits")
        return {**space, "n": int(size), **({"start": int(start)} if start else {})}
    if kind != "box":
        raise SpecError(f"space {_told(space)}: expected type 'discrete' or 'box'")
    return {**space, **{key: _checked_bound(space.get(key), shape) for key in ("low", "high")}}


def _told(space: Mapping[str, Any]) -> str:
    return shortened(repr(dict(space)), _SHOWN)


def _checked_bound(bound: Any, shape: tuple[int, ...]) -> Any:
    values = np.array(bound, dtype=object)
    if values.ndim and values.size != math.prod(shape):
        raise SpecError(f"space: a bound has shape {values.shape}, the rows have {shape}")
    try:
        numbers = [None if value is None or not math.isfinite(value) else value for value in values.ravel().tolist()]
    except (TypeError, OverflowError) as error:
        raise SpecError(
            f"space: the bound {shortened(repr(bound), _SHOWN)} is not a number or a list of the rows' shape"
        ) from error
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
    if space is None or space["type"] == "discrete" or _kind(space) is not None:
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


def holds(outer: Mapping[str, Any], inner: Mapping[str, Any]) -> bool:
    """Whether every value of one checked space is one of another, and means the same there.

    Discrete values that begin elsewhere are other choices, although the numbers are the same.
    """
    if outer["type"] != inner["type"] or _kind(outer) != _kind(inner):
        return False
    if outer["type"] == "discrete":
        return bool(outer.get("start", 0) == inner.get("start", 0) and outer["n"] >= inner["n"])
    lows, highs = (_bounds_of_both(outer, inner, key, absent) for key, absent in (("low", -np.inf), ("high", np.inf)))
    if _kind(outer) == "MultiDiscrete" and (lows[0] != lows[1]).any():
        return False
    return bool((lows[0] <= lows[1]).all() and (highs[0] >= highs[1]).all())


def _kind(space: Mapping[str, Any]) -> Any:
    """Return what a Minari dataset calls a space that is a box here, such as ``MultiDiscrete``."""
    described = space.get(_MINARI)
    return described.get("type") if isinstance(described, Mapping) else None


def _bounds_of_both(outer: Mapping[str, Any], inner: Mapping[str, Any], key: str, absent: float) -> list[Array]:
    return [_bound(space[key], absent) for space in (outer, inner)]


def without_disputes(widest: Mapping[str, Any], spaces: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the widest of several spaces; of what they say beyond their values, only what all say."""
    values = {"type", "n", "start", "low", "high", _MINARI}
    others = list(spaces)
    return {
        key: value for key, value in widest.items() if key in values or all(space.get(key) == value for space in others)
    }


def described_space(space: Mapping[str, Any] | None) -> str:
    """Return a checked space in a few words, however many bounds it has."""
    if space is None:
        return "no space"
    if space["type"] == "discrete":
        start = space.get("start", 0)
        return f"discrete, {start} to {start + space['n'] - 1}"
    low, high = _described_bound(space["low"], -np.inf), _described_bound(space["high"], np.inf)
    return f"{_kind(space) or 'a box'} from {low} to {high}"


def _described_bound(bound: Any, absent: float) -> str:
    values = _bound(bound, absent)
    least, greatest = (f"{value:.6g}" for value in (values.min(), values.max()))
    if least == greatest:
        return least
    if values.size <= _MOST_SHOWN:
        return "[" + ", ".join(f"{value:.6g}" for value in values.ravel().tolist()) + "]"
    return f"({least} ... {greatest})"
