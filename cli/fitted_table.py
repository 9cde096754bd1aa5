"""A table that leaves out its least important columns where the terminal is too narrow for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.measure import Measurement
from rich.table import Table

from rlbuffers_cli.console import console, rows_table

__all__ = ["print_fitted", "print_unfolded"]

_UNLIMITED = 1 << 16
_INDENT = "  "
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
        Headers; the first column may be folded, after a comma where there is one.
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
    room = console.width - _width(_table("", columns, [["", *row[1:]] for row in rows], kept, right)) + len(columns[0])
    folded = [[_folded(str(row[0]), room), *row[1:]] for row in rows]
    console.print(_table(title, columns, folded, kept, right))


def _folded(text: str, width: int) -> str:
    """Return a text whose parts, between commas, are on as few lines as hold them whole; later lines are indented."""
    lines = [""]
    for part in text.split(", "):
        joined = f"{lines[-1]}, {part}" if lines[-1] else part
        if lines[-1] and len(joined) + len(",") > width:
            lines[-1] += ","
            lines.append(_INDENT + part)
        else:
            lines[-1] = joined
    return "\n".join(lines)


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
