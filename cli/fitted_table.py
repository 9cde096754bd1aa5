"""A table that leaves out its least important columns where the terminal is too narrow for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.measure import Measurement
from rich.table import Table

from rlbuffers_cli.console import console, rows_table

__all__ = ["print_fitted", "print_unfolded"]

_UNLIMITED = 1 << 16
_READABLE_WIDTH = 24  # of the first column, which is folded when it is longer


def print_fitted(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    droppable: Sequence[str],
    right: Sequence[str] = (),
) -> None:
    """Print a table within the terminal's width; what is no terminal gets every column, unfolded.

    Parameters
    ----------
    title : str
        Above the table.
    columns : sequence of str
        Headers; the first column may be folded.
    rows : sequence of rows
        Cells.
    droppable : sequence of str
        Columns that may be left out, the least important one first.
    right : sequence of str
        Columns of texts that are aligned to the right.
    """
    kept = list(range(len(columns)))
    if not console.is_terminal:
        print_unfolded(_table(title, columns, rows, kept, right))
        return
    longest = max((len(str(row[0])) for row in rows), default=0)
    foldable = max(longest - _READABLE_WIDTH, 0)
    for name in droppable:
        if _width(_table("", columns, rows, kept, right)) - foldable <= console.width:
            break
        kept.remove(columns.index(name))
    console.print(_table(title, columns, rows, kept, right))


def print_unfolded(table: Table) -> None:
    """Print a table as wide as it is, for what is no terminal."""
    for line in console.render_lines(table, console.options.update_width(_UNLIMITED), pad=False):
        console.print("".join(segment.text for segment in line).rstrip(), soft_wrap=True)


def _table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], kept: Sequence[int], right: Sequence[str]
) -> Table:
    table = rows_table(title, [columns[index] for index in kept], [[row[index] for index in kept] for row in rows])
    for column in table.columns[1:]:
        column.no_wrap = True
        if str(column.header) in right:
            column.justify = "right"
    return table


def _width(table: Table) -> int:
    return Measurement.get(console, console.options.update_width(_UNLIMITED), table).maximum
