"""Settings that check themselves, and say enough about each to make a command-line option of it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from typing import Any, Self, TypeVar

from rlbuffers.errors import FormatError, UsageError
from rlbuffers.listing import listed
from rlbuffers_train.typed import MOST_NUMBERS, kinds_of, shown_value, typed

__all__ = [
    "AMOUNT",
    "LAYERS",
    "Settings",
    "SettingsT",
    "check_value",
    "json_values",
    "nearest_of",
    "option_name",
    "setting",
    "with_changes",
]

# Ranges of several settings: widths of layers, whose memory `rlbuffers_train.networks.memory` bounds, and numbers of
# what an update computes at once.
LAYERS: dict[str, Any] = {"at_least": 1, "at_most": 1 << 24, "longest": 64}
AMOUNT: dict[str, Any] = {"at_least": 1, "at_most": 1_000_000}


def setting(
    default: Any = MISSING,
    about: str = "",
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    below: float = math.inf,
    at_most: float = math.inf,
    choices: tuple[str, ...] = (),
    longest: int = MOST_NUMBERS,
) -> Any:
    """Return a dataclass field of a `Settings` class: its default, what it is, and its range.

    Parameters
    ----------
    default
        Value where none is given; without one, subclasses must say.
    about : str
        One line for ``--help``.
    above, at_least, below, at_most : float
        Range of the value, or of each value of a tuple.
    choices : tuple of str
        Texts that are allowed; any by default.
    longest : int
        How many values a tuple may have.
    """
    limits = {"above": above, "at_least": at_least, "below": below, "at_most": at_most}
    return field(default=default, metadata={"about": about, "choices": choices, "longest": longest, **limits})


@dataclass(frozen=True)
class Settings:
    """A frozen set of named numbers, texts and tuples, made of :func:`setting` fields.

    Raises
    ------
    UsageError
        If a value is not of its type or lies outside of its range; the message names its command-line option.
    """

    def __post_init__(self) -> None:
        for one in fields(self):
            check_value(one, kinds_of(type(self))[one.name], getattr(self, one.name), option_name(one.name))

    def to_json(self) -> dict[str, Any]:
        """Return the values as JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Build settings from :meth:`to_json`'s result; what an older release did not have yet takes its default.

        Raises
        ------
        FormatError
            If names are unknown, or missing and without a default.
        UsageError
            See the class.
        """
        known = {field.name for field in fields(cls)}
        needed = {field.name for field in fields(cls) if field.default is MISSING}
        if not needed <= set(values) <= known:
            raise FormatError(f"expected the settings of {cls.__name__}, got {listed(sorted(values))}")
        # JSON has lists where settings have tuples.
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def json_values(settings: Settings) -> dict[str, Any]:
    """Return the values as they are read back: lists where settings have tuples."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.to_json().items()}


SettingsT = TypeVar("SettingsT", bound=Settings)


def with_changes(settings: SettingsT, changes: Mapping[str, Any]) -> SettingsT:
    """Return `settings` with the values of `changes` that are not None.

    Raises
    ------
    UsageError
        If there is no setting of such a name, or its value is out of range.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    known = settings.to_json()
    for name in given:
        if name not in known:
            raise UsageError(f"{option_name(name)} is no setting here; {nearest_of(name, list(known))}")
    return type(settings).from_json({**known, **given})


def nearest_of(name: str, known: Sequence[str]) -> str:
    """Word which option may have been meant, and which there are."""
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {option_name(nearest[0])}? There are" if nearest else "there are"
    return f"{hint} {', '.join(map(option_name, known))}"


def option_name(name: str) -> str:
    """Return the command-line option of a setting."""
    return "--" + name.replace("_", "-")


def check_value(one: Field[Any], kind: Any, value: Any, where: str) -> Any:
    """Return the value of a setting if it is of its type and within its range; a list becomes a tuple.

    Parameters
    ----------
    one : dataclasses.Field
        Made by :func:`setting`.
    kind : type
        What the field is declared as.
    value
        What is asked for.
    where : str
        What the message begins with, such as the command-line option.

    Raises
    ------
    UsageError
        If it is not.
    """
    longest = one.metadata.get("longest", MOST_NUMBERS)
    if isinstance(value, list | tuple) and len(value) > longest:  # before each of them is looked at
        raise UsageError(f"{where}: expected at most {longest} values, got {len(value):,}")
    try:
        found = typed(value, kind, where)
    except FormatError as error:
        raise UsageError(str(error)) from None
    for item in found if isinstance(found, tuple) else (found,):
        _check_range(one, item, where)
    return found


def _check_range(one: Field[Any], value: Any, where: str) -> None:
    limits = one.metadata
    if limits.get("choices") and value not in limits["choices"]:
        raise UsageError(f"{where}: expected one of {', '.join(limits['choices'])}, got {shown_value(value)}")
    if "above" not in limits or not isinstance(value, int | float):
        return
    holds = {
        "above": value > limits["above"],
        "at_least": value >= limits["at_least"],
        "below": value < limits["below"],
        "at_most": value <= limits["at_most"],
    }
    for word, holding in holds.items():
        if not holding and not math.isinf(limits[word]):
            raise UsageError(f"{where}: expected {word.replace('_', ' ')} {limits[word]:,g}, got {value}")
