"""Minari's descriptions of gymnasium spaces, and the columns that they stand for.

A space is a JSON object with a ``type`` (``minari/serialization.py`` of Farama-Foundation/Minari).
Dict and Tuple spaces nest; their leaves become columns such as ``observations/image`` and
``observations/_index_0``. The way back is in ``column_spaces.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlbuffers.errors import FormatError
from rlbuffers.sources.json_text import field, parse_json, whole_number

__all__ = ["Leaf", "leaves_of", "parse_space"]

_MAX_AXES = 32
_MAX_NUMBERS = 1 << 26


@dataclass(frozen=True)
class Leaf:
    """One space that holds no others.

    Parameters
    ----------
    name : str
        Name of the column.
    shape : tuple of int
        Shape of one value.
    space : mapping or None
        The same bounds as a column's space, see `rlbuffers.spaces`; None for texts.
    """

    name: str
    shape: tuple[int, ...]
    space: Mapping[str, Any] | None


def parse_space(text: Any, where: str) -> dict[str, Any]:
    """Read a space from the JSON text that stands inside the metadata's JSON.

    Raises
    ------
    FormatError
        If it is no description of a space.
    """
    space = parse_json(text, where) if isinstance(text, str) else text
    if not isinstance(space, dict) or not isinstance(space.get("type"), str):
        raise FormatError(f"{where}: expected a space with a type, found {text!r:.80}")
    return space


def leaves_of(space: Mapping[str, Any], name: str, where: str) -> Iterator[Leaf]:
    """Yield the leaves of a space.

    Raises
    ------
    FormatError
        If the space is of a kind that the format does not have, or lacks what its kind needs.
    """
    kind = space.get("type")
    if kind == "Dict":
        for key, inner in _subspaces(space, dict, where).items():
            yield from leaves_of(parse_space(inner, where), f"{name}/{key}", where)
    elif kind == "Tuple":
        for index, inner in enumerate(_subspaces(space, list, where)):
            yield from leaves_of(parse_space(inner, where), f"{name}/_index_{index}", where)
    elif kind in ("Box", "Discrete", "MultiDiscrete", "MultiBinary", "Text"):
        try:
            shape = _shape(space, where)
            if min(shape, default=0) < 0 or len(shape) > _MAX_AXES or math.prod(shape) > _MAX_NUMBERS:
                raise ValueError(f"a value of shape {shape!s:.100} is not plausible")
            yield Leaf(name, shape, _column_space(space, where))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            if isinstance(error, FormatError):
                raise
            raise FormatError(f"{where}: the {kind} space of {name!r} cannot be understood ({error})") from error
    else:
        raise FormatError(f"{where}: the space of {name!r} has type {kind!r}, which is not one of Minari's")


def _subspaces(space: Mapping[str, Any], kind: type, where: str) -> Any:
    found = space.get("subspaces")
    if not isinstance(found, kind):
        raise FormatError(f"{where}: a space of type {space['type']} lacks its subspaces")
    return found


def _shape(space: Mapping[str, Any], where: str) -> tuple[int, ...]:
    if space["type"] == "Box":
        return tuple(whole_number(size, "shape", where) for size in field(space, "shape", "a list", where))
    if space["type"] == "MultiDiscrete":
        return np.shape(space["nvec"])
    if space["type"] == "MultiBinary":
        sizes = space["n"] if isinstance(space["n"], list) else [space["n"]]
        return tuple(whole_number(size, "n", where) for size in sizes)
    return ()


def _column_space(space: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    """Return a leaf's bounds; key ``minari`` keeps what a box does not tell, for the way back."""
    kind = space["type"]
    if kind == "Box":
        return {"type": "box", "low": space["low"], "high": space["high"]}
    if kind == "Discrete":
        start = field(space, "start", "a whole number", where, 0)
        return {
            "type": "discrete",
            "n": field(space, "n", "a whole number", where),
            **({"start": start} if start else {}),
        }
    if kind == "MultiDiscrete":
        sizes = np.asarray(space["nvec"], np.int64)
        first = np.broadcast_to(np.asarray(space.get("start", 0), np.int64), sizes.shape)
        return {"type": "box", "low": first.tolist(), "high": (first + sizes - 1).tolist(), "minari": dict(space)}
    if kind == "MultiBinary":
        return {"type": "box", "low": 0, "high": 1, "minari": dict(space)}
    return None
