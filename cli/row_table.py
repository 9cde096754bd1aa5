"""Rows of a buffer as a table that fits the terminal, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from rlbuffers_cli.console import rows_table

__all__ = ["cell_text", "json_value", "table_of_rows"]

Array = np.ndarray[Any, Any]

_MIN_VECTOR_WIDTH = 14
_MAX_VECTOR_WIDTH = 44
_PADDING = 2


def json_value(value: Any) -> Any:
    """Return a row's value as JSON; numbers that are not finite become null, for which JSON has no word."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list):
        return [json_value(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def cell_text(value: Array, width: int) -> str:
    """Return a row's value in at most `width` characters, if there is more than one number in it."""
    if value.ndim == 0:
        return _number(value)
    if value.ndim > 1 and value.dtype == np.uint8:
        return f"{'x'.join(map(str, value.shape))}, mean {value.mean():.1f}"
    numbers = value.ravel()
    shown: list[str] = []
    for index, number in enumerate(numbers):
        text = " ".join([*shown, _number(number)])
        rest = f" … {len(numbers)}" if index + 1 < len(numbers) else ""
        if len(text) + len(rest) > width and shown:
            return f"{' '.join(shown)} … {len(numbers)}"
        shown.append(_number(number))
    return " ".join(shown)


def _number(value: Any) -> str:
    if value.dtype.kind == "b":
        return "yes" if value else "no"
    return f"{float(value):.4g}" if value.dtype.kind == "f" else str(int(value))


def table_of_rows(
    labels: Mapping[str, Sequence[int]], rows: Mapping[str, Array], width: int | None
) -> tuple[Table, list[str]]:
    """Lay rows out.

    Parameters
    ----------
    labels : mapping of header to numbers
        What stands before the columns: the row, its episode and step.
    rows : mapping of name to array, shape (B, *row)
        Columns, the most important one first.
    width : int or None
        Characters that there are; None for no limit.

    Returns
    -------
    table : Table
    left_out : list of str
        Columns that did not fit.
    """
    fixed = {name: [_number(value) for value in values] for name, values in rows.items() if values.ndim == 1}
    used = sum(_width_of(header, [str(number) for number in numbers]) for header, numbers in labels.items())
    kept: list[str] = []
    vectors = 0
    for name in rows:
        needed = _width_of(name, fixed[name]) if name in fixed else max(_MIN_VECTOR_WIDTH, len(name)) + _PADDING
        if width is not None and used + needed > width and kept:
            continue
        used += needed
        vectors += name not in fixed
        kept.append(name)
    spare = _MAX_VECTOR_WIDTH if width is None else max(width - used, 0) // max(vectors, 1)
    shown = {name: fixed.get(name) or _cells(name, rows[name], spare) for name in kept}
    cells = [
        [*(int(numbers[index]) for numbers in labels.values()), *(shown[name][index] for name in kept)]
        for index in range(len(next(iter(labels.values()))))
    ]
    table = rows_table("", [*labels, *kept], cells)
    for column in table.columns:
        column.no_wrap = width is None or len(kept) > 1
        if str(column.header) in fixed:
            column.justify = "right"
    return table, [name for name in rows if name not in kept]


def _cells(name: str, values: Array, spare: int) -> list[str]:
    width = min(max(_MIN_VECTOR_WIDTH, len(name)) + spare, _MAX_VECTOR_WIDTH)
    return [cell_text(value, width) for value in values]


def _width_of(header: str, texts: Sequence[str]) -> int:
    return max(len(header), *(len(text) for text in texts)) + _PADDING if texts else len(header) + _PADDING
