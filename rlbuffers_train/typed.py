"""JSON values as the types that dataclasses declare: each is checked where it is read, not where it is used."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, NoReturn, TypeVar

from rlbuffers.errors import FormatError
from rlbuffers.listing import listed, shortened

__all__ = ["MOST_NUMBERS", "kinds_of", "shown_value", "typed", "typed_fields"]

MOST_NUMBERS = 1 << 20  # in one list; more elements than any observation or action here has
_MOST_BITS = 63
_LONGEST_SHOWN = 80
_DEEPEST_OPEN = 32
_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_PLURALS = {int: "whole numbers", float: "numbers", bool: "true or false", str: "texts"}

T = TypeVar("T")


def kinds_of(declared: type[Any]) -> dict[str, Any]:
    """Return the type of each field of a dataclass."""
    plain: Any = declared  # a type is hashable, whatever its instances are
    return _kinds_of(plain)


@functools.cache
def _kinds_of(declared: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(declared)
    return {one.name: hints[one.name] for one in fields(declared)}


def shown_value(value: Any) -> str:
    """Return a value for a message, short whatever it is."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > _MOST_BITS + 1:
        return f"a whole number of {value.bit_length():,} bits"
    if isinstance(value, Mapping | Sequence) and not isinstance(value, str | bytes):
        return f"{'keys and values' if isinstance(value, Mapping) else 'a list'} ({len(value):,})"
    return shortened(" ".join(repr(value).split()), _LONGEST_SHOWN)


def typed(value: Any, kind: Any, where: str) -> Any:
    """Return a value of JSON types as a declared type.

    Parameters
    ----------
    value
        What was read. A list becomes a tuple, and keys and values a dataclass, where that is declared.
    kind : type
        ``bool``, ``int`` (of 64 bits), ``float`` (finite), ``str``, ``None``, a dataclass, or a tuple, a sequence, a
        mapping by text, or a union of such. ``Any`` allows what JSON has, nested 32 deep at most; ``object`` is
        not looked into.
    where : str
        What the message begins with, such as ``x.yaml: settings: seed``.

    Raises
    ------
    FormatError
        If the value is not of the type; the message says what was expected and what was found.
    """
    if kind is object:
        return value
    if kind is Any:
        return _open(value, where, _DEEPEST_OPEN)
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in parts:
            return None
        return typed(value, next(part for part in parts if part is not type(None)), where)
    if origin is tuple or (isinstance(origin, type) and issubclass(origin, Sequence)):
        found = _list(value, parts[0], where)
        return found if origin is tuple else list(found)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {name: typed(inner, parts[1], f"{where}: {name}") for name, inner in _named(value, where).items()}
    if dataclasses.is_dataclass(kind):
        return typed_fields(value, typing.cast("type[Any]", kind), where)
    return _scalar(value, kind, where)


def typed_fields(value: Any, declared: type[T], where: str) -> T:
    """Return a dataclass made of keys and values; each is checked, see :func:`typed`.

    Raises
    ------
    FormatError
        If names are unknown, or missing and without a default.
    """
    found, kinds = _named(value, where), kinds_of(declared)
    needed = {
        one.name
        for one in fields(declared)  # type: ignore[arg-type]
        if one.default is MISSING and one.default_factory is MISSING
    }
    if not needed <= set(found) <= set(kinds):
        raise FormatError(f"{where}: expected {listed(sorted(kinds))}; got {listed(sorted(found)) or 'nothing'}")
    return declared(**{name: typed(inner, kinds[name], f"{where}: {name}") for name, inner in found.items()})


def _named(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        _refuse(value, "keys and values", where)
    return typing.cast("Mapping[str, Any]", value)


def _list(value: Any, kind: Any, where: str) -> tuple[Any, ...]:
    plural = f"a list of {_PLURALS.get(kind, 'entries')}"
    if not isinstance(value, list | tuple):
        _refuse(value, plural, where)
    if len(value) > MOST_NUMBERS:
        raise FormatError(f"{where}: expected {plural}, at most {MOST_NUMBERS:,}; got {len(value):,}")
    if kind in _PLURALS:
        for item in value:
            if not _is_of(item, kind):
                raise FormatError(f"{where}: expected {plural}, got {shown_value(item)} in it")
        return tuple(value)
    return tuple(typed(item, kind, f"{where}: {number}") for number, item in enumerate(value))


def _scalar(value: Any, kind: Any, where: str) -> Any:
    if not _is_of(value, kind):
        _refuse(value, _NAMES[kind], where)
    return value


def _is_of(value: Any, kind: Any) -> bool:
    """Whether a value is of a scalar type; a whole number is a number too, and true is neither."""
    if kind is float:
        return _is_of(value, int) or (isinstance(value, float) and math.isfinite(value))
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= _MOST_BITS
    return isinstance(value, kind)


def _open(value: Any, where: str, depth: int) -> Any:
    """Return what may be of any JSON type, unless it is nested very deep."""
    if depth == 0:
        raise FormatError(f"{where}: nested more than {_DEEPEST_OPEN} deep")
    for inner in value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ():
        _open(inner, where, depth - 1)
    return value


def _refuse(value: Any, expected: str, where: str) -> NoReturn:
    raise FormatError(f"{where}: expected {expected}, got {shown_value(value)}")
