"""Kinds of values of command-line options."""

from __future__ import annotations

import click

__all__ = ["Numbers", "WholeNumbers"]


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
