"""Numbers as the page words them."""

from __future__ import annotations

import math

__all__ = ["number_text", "size_text"]

_EXACT = 1e15  # a float below it holds every whole number
_UNITS = ("B", "KB", "MB", "GB", "TB")


def number_text(value: float | None) -> str:
    """Return a number with the digits that matter."""
    if value is None or not math.isfinite(value):
        return "not finite"
    if value == int(value) and abs(value) < _EXACT:
        text = f"{int(value):,}"
    else:
        text = f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"
    return text.replace("-", "\N{MINUS SIGN}")


def size_text(num_bytes: float) -> str:
    """Return a size in decimal units."""
    size = float(num_bytes)
    for unit in _UNITS[:-1]:
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} {_UNITS[-1]}"
