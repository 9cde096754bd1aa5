"""What the metadata of a buffer may say: the type and the bounds of each key, in one place.

`METADATA` describes every key that rlbuffers reads. Keys that it does not list may hold any JSON. A value of another
kind is *settled* when metadata are parsed or written: where it decides what the stored numbers are or mean, the whole
document is refused; elsewhere the smallest part that is wrong is left out, and a warning names it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rlbuffers.listing import shortened

__all__ = ["DECISIVE", "METADATA", "Problem", "settled"]

# A check is given a value and says what was expected instead, or nothing if the value is as it should be.
Leaf = Callable[[Any], str | None]
_MAX_COUNT = (1 << 63) - 1
_MAX_ROWS = 1 << 60
_MAX_NAME = 1_000
_SHOWN = 60
_WRONG = object()


@dataclass(frozen=True)
class Problem:
    """A value that is not what the schema says.

    Parameters
    ----------
    path : str
        Where it is, such as ``source.files[3].bytes``.
    expected, found : str
        What should be there, and what is.
    """

    path: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}, found {self.found}"


def whole(low: int = 0, high: int = _MAX_COUNT) -> Leaf:
    """Return the check for a whole number within bounds."""

    def check(value: Any) -> str | None:
        fits = type(value) is int and low <= value <= high
        return None if fits else f"a whole number from {low:,} to {high:,}"

    return check


def number(value: Any) -> str | None:
    """Check for a finite number."""
    fits = type(value) in (int, float) and math.isfinite(value)
    return None if fits else "a finite number"


def text(value: Any) -> str | None:
    """Check for a text."""
    return None if isinstance(value, str) else "a text"


def name(value: Any) -> str | None:
    """Check for a short text."""
    fits = isinstance(value, str) and 0 < len(value) <= _MAX_NAME
    return None if fits else f"a text of 1 to {_MAX_NAME:,} characters"


def digest(value: Any) -> str | None:
    """Check for a SHA-256 in hexadecimal."""
    fits = isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value)
    return None if fits else "64 hexadecimal digits"


def flag(value: Any) -> str | None:
    """Check for true or false."""
    return None if isinstance(value, bool) else "true or false"


def anything(value: Any) -> str | None:
    """Check nothing."""


def choice(*words: str) -> Leaf:
    """Return the check for one of some words."""
    return lambda value: None if value in words else " or ".join(map(repr, words))


def scalar_value(value: Any) -> str | None:
    """Check for what one entry of ``scalars`` may be."""
    return None if isinstance(value, str | bool) or number(value) is None else "a number, a text, true or false"


@dataclass(frozen=True)
class Maybe:
    """A value that may be null."""

    of: Kind


@dataclass(frozen=True)
class Nested:
    """A finite number, or lists of such, however deep."""

    or_null: bool = False


@dataclass(frozen=True)
class ListOf:
    """A list; an element that is wrong is left out alone."""

    of: Kind


@dataclass(frozen=True)
class MapOf:
    """An object whose keys are names; an entry that is wrong is left out alone."""

    of: Kind


@dataclass(frozen=True)
class Either:
    """Any of several kinds, told apart by their JSON type; the first one that fits."""

    kinds: tuple[Kind, ...]
    expected: str


@dataclass(frozen=True)
class Record:
    """An object with known keys, and any others.

    Parameters
    ----------
    required : mapping of str to kind
        Without one of these, or where one is wrong, the whole object is wrong.
    optional : mapping of str to kind
        One that is wrong is left out alone.
    """

    required: Mapping[str, Kind] = field(default_factory=dict)
    optional: Mapping[str, Kind] = field(default_factory=dict)


@dataclass(frozen=True)
class Again:
    """A kind that is part of itself."""

    name: str


Kind = Leaf | Maybe | Nested | ListOf | MapOf | Either | Record | Again


def settled(value: Any, kind: Kind, path: str = "") -> tuple[Any, list[Problem]]:
    """Return a JSON value without what is wrong in it, and what that was.

    Parameters
    ----------
    value : JSON value
        Not nested deeper than `rlbuffers.json_documents.MAX_NESTING`. It is not changed.
    kind : kind
        What it should be.
    path : str
        Where it is, for the problems.

    Returns
    -------
    value : JSON value
        None where the whole is wrong.
    problems : list of Problem
        Empty if nothing is.
    """
    problems: list[Problem] = []
    found = _settle(value, kind, path, problems)
    return None if found is _WRONG else found, problems


def _settle(value: Any, kind: Kind, path: str, problems: list[Problem]) -> Any:
    """Return the value without what is wrong in it; `_WRONG` if all is."""
    if isinstance(kind, Again):
        return _settle(value, _RECURSIVE[kind.name], path, problems)
    if isinstance(kind, Maybe):
        return None if value is None else _settle(value, kind.of, path, problems)
    if isinstance(kind, Nested):
        odd = next(_odd_numbers(value, or_null=kind.or_null), None)
        return value if odd is None else _wrong(odd[0], "a finite number", path, problems)
    if isinstance(kind, ListOf):
        if not isinstance(value, list):
            return _wrong(value, "a list", path, problems)
        inner = [_settle(item, kind.of, f"{path}[{place}]", problems) for place, item in enumerate(value)]
        return [item for item in inner if item is not _WRONG]
    if isinstance(kind, MapOf | Record):
        return _settle_object(value, kind, path, problems)
    if isinstance(kind, Either):
        for one in kind.kinds:
            found, wrong = settled(value, one, path)
            if not wrong:
                return found
        return _wrong(value, kind.expected, path, problems)
    expected = kind(value)
    return value if expected is None else _wrong(value, expected, path, problems)


def _odd_numbers(value: Any, *, or_null: bool) -> Iterator[tuple[Any]]:
    """Yield what is not a number among nested lists of them."""
    if isinstance(value, list):
        if not set(map(type, value)) <= {float, int}:  # most lists are of numbers only
            for item in value:
                yield from _odd_numbers(item, or_null=or_null)
    elif number(value) is not None and not (or_null and value is None):
        yield (value,)


def _settle_object(value: Any, kind: MapOf | Record, path: str, problems: list[Problem]) -> Any:
    if not isinstance(value, dict):
        return _wrong(value, "an object", path, problems)
    at = f"{path}." if path else ""
    if isinstance(kind, MapOf):
        inner = {key: _settle(item, kind.of, at + shortened(key, _SHOWN), problems) for key, item in value.items()}
        return {key: item for key, item in inner.items() if item is not _WRONG}
    missing = [key for key in kind.required if key not in value]
    if missing:
        return _wrong(value, f"an object with {missing[0]!r}", path, problems)
    found = dict(value)
    for key, one in (*kind.required.items(), *kind.optional.items()):
        if key in found:
            found[key] = _settle(found[key], one, at + key, problems)
            if found[key] is _WRONG:
                if key in kind.required:
                    return _WRONG
                del found[key]
    return found


def _wrong(value: Any, expected: str, path: str, problems: list[Problem]) -> Any:
    problems.append(Problem(path, expected, _shown(value)))
    return _WRONG


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"a list of {len(value):,}"
    if isinstance(value, dict):
        return f"an object of {len(value):,}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return shortened(repr(value), _SHOWN)


_COUNTS = MapOf(whole())
_SPACE = Record(
    {"type": choice("discrete", "box")},
    {
        "n": whole(1),
        "start": whole(-_MAX_COUNT),
        "low": Nested(or_null=True),
        "high": Nested(or_null=True),
    },
)
_COLUMN = Record({"dtype": name, "shape": ListOf(whole(1))}, {"space": Maybe(_SPACE)})
_ELEMENTS = Nested(or_null=True)
_STATISTIC = Either(
    (
        Maybe(number),
        ListOf(whole()),
        Record({}, {"min": _ELEMENTS, "max": _ELEMENTS, "mean": _ELEMENTS, "std": _ELEMENTS, "not_finite": whole()}),
    ),
    "a number, a list of counts, or an object of numbers (min, max, mean, std, ...)",
)
_TEXTS = ListOf(text)
_WRITTEN_BY = Record(
    {},
    {"command": text, "created": text, "python": text, "platform": text, "versions": MapOf(text)},
)
_FILE = Record({}, {"name": Maybe(text), "bytes": whole(), "sha256": text})
_RECURSIVE: dict[str, Kind] = {
    "source": Record(
        {},
        {
            "format": text,
            "name": Maybe(text),
            "dataset": Maybe(text),
            "reader_version": whole(1),
            "published_at": Maybe(text),
            "files": ListOf(_FILE),
            "parts": ListOf(Again("source")),
            "first_row": whole(0, _MAX_ROWS),
            "transitions": whole(0, _MAX_ROWS),
            "episode_id_offsets": MapOf(whole()),
            "checkpoints": ListOf(Record({"capacity": whole(), "add_count": whole()})),
            "exported_from": Record(
                {},
                {
                    "source": Again("source"),
                    "derivation": Again("derivation"),
                    "written_by": _WRITTEN_BY,
                    "fingerprint": text,
                },
            ),
        },
    ),
    "derivation": Record(
        {},
        {
            "operation": text,
            "arguments": MapOf(anything),
            "parents": ListOf(
                Record(
                    {},
                    {
                        "name": text,
                        "fingerprint": text,
                        "counts": _COUNTS,
                        "written_by": _WRITTEN_BY,
                        "derivation": Again("derivation"),
                        "first_row": whole(0, _MAX_ROWS),
                        "transitions": whole(0, _MAX_ROWS),
                        "first_episode": whole(),
                        "episodes": whole(),
                    },
                )
            ),
        },
    ),
}
# Keys without which the stored numbers cannot be read, or mean something else.
DECISIVE: Mapping[str, Kind] = {
    "spec": Record(
        {
            "layout": choice("episodes", "transitions"),
            "order": choice("time", "shuffled"),
            "stack": whole(0, 1 << 16),
            "columns": MapOf(_COLUMN),
            "episode_columns": MapOf(_COLUMN),
            "extras": MapOf(_COLUMN),
        }
    ),
    "arrays": MapOf(Record({"dtype": name, "shape": ListOf(whole()), "digest": digest})),
    "fingerprint": digest,
    "counts": MapOf(whole()),
    "statistics": MapOf(_STATISTIC),
    "normalization": Record(
        {
            "epsilon": number,
            "columns": MapOf(Record({"mean": Nested(), "std": Nested(), "dtype": name})),
        }
    ),
}
_TOLD: Mapping[str, Kind] = {
    "storage": Record(),
    "noticed": Record(
        {},
        {
            "not_finite": MapOf(Record({"values": whole(1)}, {"rows": whole(1), "first_row": whole()})),
            "equal_ends": Record({"episodes": whole(), "steps": whole()}),
        },
    ),
    "environment": Record(
        {},
        {
            "id": Maybe(text),
            "suite": Maybe(text),
            "reference_scores": Maybe(Record({"min": number, "max": number})),
            "terminals_end_episodes": Maybe(flag),
            "can_terminate": Maybe(flag),
            "fps": Maybe(number),
            "robot_type": Maybe(text),
        },
    ),
    "behavior_policy": Record({}, {"name": Maybe(text)}),
    "source": Again("source"),
    "derivation": Again("derivation"),
    "scalars": MapOf(Record({"dtype": name, "value": scalar_value})),
    "measurements": Record(),
    "warnings": _TEXTS,
    "left_out": _TEXTS,
    "notes": _TEXTS,
    "license": text,
    "citation": text,
    "written_by": _WRITTEN_BY,
}
METADATA = Record({}, {**DECISIVE, **_TOLD})
