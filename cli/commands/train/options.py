"""Command-line options from the settings that algorithms and trainers declare."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from typing import TYPE_CHECKING, Any

import click

from rlbuffers_cli.option_types import Numbers, WholeNumbers

if TYPE_CHECKING:
    from rlbuffers_train.settings import Settings

__all__ = ["SectionedCommand", "options_of"]

# Values by the problem they are recommended for, such as {"images": 32, "vectors": 128}.
Defaults = Mapping[str, Any]


class SectionedCommand(click.Command):
    """A command whose help shows its options under several titles.

    Parameters
    ----------
    name : str
        Of the command.
    sections : mapping of str to list of click.Parameter
        Options by title, in order.
    **others
        See `click.Command`.
    """

    def __init__(self, name: str, *, sections: Mapping[str, list[click.Parameter]], **others: Any) -> None:
        super().__init__(name, params=[option for options in sections.values() for option in options], **others)
        self._sections = sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each section; what click adds itself, such as --help, belongs to the first one."""
        added = [option for option in self.get_params(ctx) if option not in self.params]
        for number, (title, options) in enumerate(self._sections.items()):
            shown = [*options, *added] if number == 0 else options
            records = [record for option in shown if (record := option.get_help_record(ctx)) is not None]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def options_of(
    classes: Sequence[type[Settings]],
    defaults: Callable[[str], Defaults],
    leave_out: Sequence[str] = (),
) -> list[click.Option]:
    """Return an option for each field of some classes; one for fields of the same name.

    Parameters
    ----------
    classes : sequence of Settings classes
        Where fields are declared.
    defaults : callable
        Maps the name of a field to its values by the problem they are recommended for.
    leave_out : sequence of str
        Fields without an option.
    """
    options = {}
    for settings_class in classes:
        types = typing.get_type_hints(settings_class)
        for one in fields(settings_class):
            if one.name not in options and one.name not in leave_out:
                options[one.name] = _option_of(one, types[one.name], defaults(one.name))
    return list(options.values())


def _option_of(one: Field[Any], kind: Any, defaults: Defaults) -> click.Option:
    described = f"{one.metadata['about']}  [{_told(one, defaults)}]"
    declaration = [f"--{one.name.replace('_', '-')}", one.name]
    if kind is bool:
        return click.Option(declaration, type=bool, is_flag=False, flag_value="1", metavar="0|1", help=described)
    return click.Option(declaration, type=_click_type(one, _without_none(kind)), help=described)


def _without_none(kind: Any) -> Any:
    """Return the type of a value that may be left open."""
    if not isinstance(kind, types.UnionType):
        return kind
    return next(one for one in typing.get_args(kind) if one is not type(None))


def _click_type(one: Field[Any], kind: Any) -> click.ParamType[Any]:
    limits = one.metadata
    if limits["choices"]:
        return click.Choice(limits["choices"])
    if typing.get_origin(kind) is tuple:
        return Numbers() if float in typing.get_args(kind) else WholeNumbers()
    bounds = {
        "min": _finite(max(limits["above"], limits["at_least"])),
        "max": _finite(min(limits["below"], limits["at_most"])),
        "min_open": limits["above"] > limits["at_least"],
        "max_open": limits["below"] < limits["at_most"],
    }
    if bounds["min"] is None and bounds["max"] is None:
        return click.INT if kind is int else click.FLOAT
    return click.IntRange(**bounds) if kind is int else click.FloatRange(**bounds)


def _finite(bound: float) -> float | None:
    return None if abs(bound) == float("inf") else bound


def _told(one: Field[Any], defaults: Defaults) -> str:
    """Word a default that is one value, or one for each kind of problem."""
    if not defaults:
        return "default: the task's" if one.default in (None, MISSING) else f"default: {_worded(one.default)}"
    values = {problem: _worded(value) for problem, value in defaults.items()}
    if len(set(values.values())) == 1:
        return f"default: {next(iter(values.values()))}"
    return "default: " + "; ".join(f"{problem} {value}" for problem, value in values.items())


def _worded(value: Any) -> str:
    if value is None:
        return "the task's"
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
