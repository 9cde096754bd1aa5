"""Kinds of values of command-line options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

__all__ = ["Numbers", "OutputPath", "WholeNumbers", "refused_address"]


class OutputPath(click.Path):
    """A path to write to, as a `Path`; addresses are refused."""

    def __init__(self, *, file_okay: bool = True, dir_okay: bool = True) -> None:
        super().__init__(path_type=Path, file_okay=file_okay, dir_okay=dir_okay)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        refused_address(ctx, param, value)
        return super().convert(value, param, ctx)


def refused_address(ctx: click.Context | None, param: click.Parameter | None, value: Any) -> Any:
    """Return what an option for output was given, unless that is an address; also a callback of options."""
    from rlbuffers.errors import UsageError
    from rlbuffers.paths import refuse_address

    if value is not None:
        try:
            refuse_address(value)
        except UsageError as error:
            raise click.BadParameter(str(error), ctx=ctx, param=param) from error
    return value


class WholeNumbers(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """Whole numbers with commas between them."""

    name = "n,n,..."

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the numbers."""
        try:
            return tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of whole numbers such as 256,256", param, ctx)


class Numbers(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """Numbers with commas between them."""

    name = "x,x,..."

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Return the numbers."""
        try:
            return tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a number, or a list of numbers such as -1,0.5", param, ctx)
