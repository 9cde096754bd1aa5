"""Rows written as text: ``5``, ``100:110``, ``-10:``, ``1,4,7:9``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from rlbuffers.errors import OutOfRangeError, UsageError

__all__ = ["ranges_text", "rows_of_text"]

_PART = re.compile(r"\s*(-?\d+)\s*|\s*(-?\d+)?\s*:\s*(-?\d+)?\s*(?::\s*(-?\d+)?\s*)?")


def rows_of_text(text: str, count: int) -> list[range]:
    """Return the rows that a text names, as ranges in the order of the text.

    Numbers and slices are Python's: negative ones count from the end, slices may reach beyond it.

    Parameters
    ----------
    text : str
        Numbers and slices, separated by commas.
    count : int
        Number of rows that there are.

    Raises
    ------
    UsageError
        If the text is not of this form.
    OutOfRangeError
        If a single row does not exist.
    """
    return [_part(part, text, count) for part in text.split(",")]


def _part(part: str, text: str, count: int) -> range:
    match = _PART.fullmatch(part)
    if match is None:
        raise UsageError(f"rows {text!r}: expected numbers and slices such as 5, 100:110 or 1,4,7:9")
    if match[1] is None:
        start, stop, step = (None if number is None else int(number) for number in match.groups()[1:])
        if step == 0:
            raise UsageError(f"rows {text!r}: the step of a slice must not be 0")
        return range(count)[slice(start, stop, step)]
    row = int(match[1])
    if not -count <= row < count:
        raise OutOfRangeError(f"there is no row {row}; there are {count:,}")
    return range(count)[row : row + 1] if row != -1 else range(count)[-1:]


def ranges_text(rows: Sequence[int] | np.ndarray[Any, Any], most: int | None = None) -> str:
    """Write ascending rows as ranges, the ends included: ``3, 10-12``.

    Parameters
    ----------
    rows : sequence of int
        Ascending, none twice.
    most : int, optional
        Largest number of ranges to list; the others are counted.
    """
    numbers = np.asarray(rows, np.int64)
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    pieces = [(part[0], part[-1]) for part in np.split(numbers, breaks)] if len(numbers) else []
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in pieces[:most]]
    rest = len(pieces) - len(texts)
    return ", ".join(texts) + (f" and {rest:,} more ranges" if rest else "")
