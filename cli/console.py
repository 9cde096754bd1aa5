"""The one place that prints: tables, progress bars, JSON. Data are never parsed as markup."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from rlbuffers.listing import shortened

__all__ = ["console", "facts_table", "print_json", "progress_bar", "rows_table", "size_text", "warn"]

console = Console(highlight=False, markup=False, emoji=False)
_error_console = Console(stderr=True, highlight=False, markup=False, emoji=False)
_LONGEST_NAME = 60
_UNITS = ("B", "KB", "MB", "GB", "TB")


def warn(message: str) -> None:
    """Print a warning to standard error."""
    _error_console.print(f"Warning: {shortened(message)}", style="bold yellow", soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a value as indented JSON and nothing else."""
    console.print(json.dumps(value, indent=2, ensure_ascii=False), soft_wrap=True)


def facts_table(title: str, facts: Mapping[str, Any]) -> Table:
    """Return a table of two columns: name and value."""
    table = Table(title=Text(title), title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(Text(shortened(str(name), _LONGEST_NAME)), Text(shortened(str(value))))
    return table


def rows_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """Return a table with a header; numbers are aligned to the right."""
    table = Table(title=Text(title) if title else None, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for index, name in enumerate(columns):
        numeric = all(isinstance(row[index], int | float) for row in rows)
        table.add_column(Text(name), justify="right" if numeric else "left", overflow="fold", header_style="cyan")
    for row in rows:
        table.add_row(*[Text(f"{value:,}" if isinstance(value, int) else str(value)) for value in row])
    return table


def size_text(num_bytes: float) -> str:
    """Return a size in decimal units: 1,536,000 becomes ``1.5 MB``."""
    size = float(num_bytes)
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1000
    raise AssertionError("the loop returns")


class _RateColumn(ProgressColumn):
    """Units so far and per second."""

    def render(self, task: Task) -> Text:
        """Show the count that `progress_bar`'s update has set."""
        count = int(task.fields.get("count", 0))
        rate = f"{count / task.elapsed:,.0f}/s" if task.elapsed and count else ""
        return Text(f"{count:,}  {rate}" if count else "")


def progress_bar() -> Progress:
    """Return a progress display; a task's field ``count`` is shown with its rate."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:>3.0f}%"),
        _RateColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
