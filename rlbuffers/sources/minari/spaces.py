"""Minari's descriptions of gymnasium spaces, and the columns that they stand for.

A space is a JSON object with a ``type`` (``minari/serialization.py`` of Farama-Foundation/Minari).
Dict and Tuple spaces nest; their leaves become columns such as ``observations/image`` and
``observations/_index_0``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlbuffers.errors import FormatError

__all__ = ["Leaf", "leaves_of", "parse_space", "space_of_column"]

_MIN_IMAGE_SIDE = 32


@dataclass(frozen=True)
class Leaf:
    """One space that holds no others.

    Parameters
    ----------
    name : str
        Name of the column.
    space : mapping
        As the file describes it.
    """

    name: str
    space: Mapping[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one value."""
        return shape_of(self.space)

    @property
    def is_text(self) -> bool:
        """Whether values are texts, which a buffer cannot hold."""
        return self.space.get("type") == "Text"

    @property
    def may_be_image(self) -> bool:
        """Whether Minari would store values as JPEG files."""
        shape = self.shape
        return (
            self.space.get("type") == "Box"
            and self.space.get("dtype") == "uint8"
            and len(shape) in (2, 3)
            and min(shape[:2]) >= _MIN_IMAGE_SIDE
        )


def parse_space(text: Any, where: str) -> dict[str, Any]:
    """Read a space from the JSON text that stands inside the metadata's JSON.

    Raises
    ------
    FormatError
        If it is no description of a space.
    """
    try:
        space = json.loads(text) if isinstance(text, str) else text
    except ValueError as error:
        raise FormatError(f"{where}: expected a space as JSON, found {text!r:.80}") from error
    if not isinstance(space, dict) or "type" not in space:
        raise FormatError(f"{where}: expected a space with a type, found {text!r:.80}")
    return space


def leaves_of(space: Mapping[str, Any], name: str, where: str) -> Iterator[Leaf]:
    """Yield the leaves of a space.

    Raises
    ------
    FormatError
        If the space is of a kind that the format does not have.
    """
    kind = space.get("type")
    if kind == "Dict":
        for key, inner in _subspaces(space, dict, where).items():
            yield from leaves_of(parse_space(inner, where), f"{name}/{key}", where)
    elif kind == "Tuple":
        for index, inner in enumerate(_subspaces(space, list, where)):
            yield from leaves_of(parse_space(inner, where), f"{name}/_index_{index}", where)
    elif kind in ("Box", "Discrete", "MultiDiscrete", "MultiBinary", "Text"):
        yield Leaf(name, space)
    else:
        raise FormatError(f"{where}: the space of {name!r} has type {kind!r}, which is not one of Minari's")


def _subspaces(space: Mapping[str, Any], kind: type, where: str) -> Any:
    found = space.get("subspaces")
    if not isinstance(found, kind):
        raise FormatError(f"{where}: a space of type {space.get('type')} lacks its subspaces")
    return found


def shape_of(space: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the shape of a value of a leaf's space."""
    if space.get("type") == "Box":
        return tuple(int(size) for size in space.get("shape", ()))
    if space.get("type") == "MultiDiscrete":
        return np.shape(space.get("nvec", ()))
    if space.get("type") == "MultiBinary":
        return tuple(np.atleast_1d(space.get("n", 1)).tolist())
    return ()


def space_of_column(space: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the same bounds as a column's space, see `rlbuffers.spaces`; None for texts."""
    kind = space.get("type")
    if kind == "Box":
        return {"type": "box", "low": space.get("low"), "high": space.get("high")}
    if kind == "Discrete":
        return {"type": "discrete", "n": space.get("n"), "start": space.get("start", 0)}
    if kind == "MultiDiscrete":
        first = np.asarray(space.get("start", np.zeros_like(np.asarray(space["nvec"]))))
        last = first + np.asarray(space["nvec"]) - 1
        return {"type": "box", "low": first.tolist(), "high": last.tolist(), "minari": dict(space)}
    if kind == "MultiBinary":
        return {"type": "box", "low": 0, "high": 1, "minari": dict(space)}
    return None
