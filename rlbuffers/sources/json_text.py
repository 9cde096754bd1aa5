"""JSON of other libraries: what it may become in memory is estimated before it is parsed, and its fields are checked.

Every reader takes documents through here, so that a value of another type than expected is one line that names the
file and the field.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, overload

from rlbuffers.errors import CorruptDataError, FormatError

__all__ = ["MAX_PARSED_BYTES", "described", "field", "parse_json", "parse_json_object", "whole_number"]

MAX_PARSED_BYTES = 256 << 20
"""What the values of a document may take in memory."""
# What Python takes for the values that these begin or part: numbers, texts, lists and objects.
_COSTS = ((b",", 32), (b'"', 28), (b"[", 64), (b"{", 240))
# Deeper than any library nests, and what Python can copy and print again.
_MAX_DEPTH = 64
Kind = Literal["a whole number", "a number", "a text", "a list", "an object", "true or false"]
_KINDS: dict[str, tuple[type, ...]] = {
    "a whole number": (int,),
    "a number": (int, float),
    "a text": (str,),
    "a list": (list,),
    "an object": (dict,),
    "true or false": (bool,),
}
_MAX_SHOWN = 60


def parse_json(text: bytes | str, where: str, *, most: int = MAX_PARSED_BYTES) -> Any:
    """Parse a document.

    Parameters
    ----------
    text : bytes or str
        All of it.
    where : str
        What is read, for messages.
    most : int
        How many bytes its values may take in memory.

    Raises
    ------
    CorruptDataError
        If it is not JSON, nested too deeply, or would take more memory.
    """
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    size = len(data) + sum(cost * data.count(mark) for mark, cost in _COSTS)
    if size > most:
        raise CorruptDataError(
            f"{where}: expected JSON whose values take at most {most:,} bytes in memory; they would take about {size:,}"
        )
    if b"\0" in data:  # found in sparse files, before their zeros are copied once more
        raise CorruptDataError(f"{where}: damaged or cut short: not JSON: it holds zero bytes")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CorruptDataError(f"{where}: damaged or cut short: not JSON: {error}") from error
    if not _is_flat(found, _MAX_DEPTH):
        raise CorruptDataError(f"{where}: expected JSON of at most {_MAX_DEPTH} levels, found more")
    return found


def parse_json_object(text: bytes | str, where: str, *, most: int = MAX_PARSED_BYTES) -> dict[str, Any]:
    """Parse a document that is an object; raises as `parse_json`.

    Raises
    ------
    FormatError
        If it is something else.
    """
    found = parse_json(text, where, most=most)
    if not isinstance(found, dict):
        raise FormatError(f"{where}: expected a JSON object, found {described(found)}")
    return found


def _is_flat(value: Any, depth: int) -> bool:
    if not isinstance(value, list | dict):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(_is_flat(item, depth - 1) for item in inner if isinstance(item, list | dict))


@overload
def field(
    values: Mapping[str, Any], name: str, kind: Literal["a whole number"], where: str, default: int = ...
) -> int: ...
@overload
def field(
    values: Mapping[str, Any], name: str, kind: Literal["a number"], where: str, default: float = ...
) -> float: ...
@overload
def field(values: Mapping[str, Any], name: str, kind: Literal["a text"], where: str, default: str = ...) -> str: ...
@overload
def field(
    values: Mapping[str, Any], name: str, kind: Literal["a list"], where: str, default: list[Any] = ...
) -> list[Any]: ...
@overload
def field(
    values: Mapping[str, Any], name: str, kind: Literal["an object"], where: str, default: dict[str, Any] = ...
) -> dict[str, Any]: ...
@overload
def field(
    values: Mapping[str, Any], name: str, kind: Literal["true or false"], where: str, default: bool = ...
) -> bool: ...
def field(values: Mapping[str, Any], name: str, kind: Kind, where: str, default: Any = None) -> Any:
    """Return a field of an object, checked.

    Parameters
    ----------
    values : mapping
        The object.
    name : str
        Of the field.
    kind : str
        What it must be: a key of the table of kinds, such as ``"a text"``.
    where : str
        File and place, for messages.
    default : optional
        What stands for a field that is absent or null; without it the field must be there.

    Raises
    ------
    FormatError
        If it is missing, or something else.
    """
    value = values.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) and bool not in _KINDS[kind]):
        found = "which is missing" if name not in values else f"found {described(value)}"
        raise FormatError(f"{where}: expected {kind} as {name!r}, {found}")
    return value


def whole_number(value: Any, name: str, where: str) -> int:
    """Return a number that may stand in a text, as Protocol Buffers write those of 64 bits.

    Raises
    ------
    FormatError
        If it is none.
    """
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit() and len(value) < _MAX_SHOWN:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise FormatError(f"{where}: expected a whole number as {name!r}, found {described(value)}")
    return value


def described(value: Any) -> str:
    """Return a value of a document as short text for messages."""
    if isinstance(value, list | dict):
        kind = "a list" if isinstance(value, list) else "an object"
        return f"{kind} of {len(value):,} values"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
