"""JSON from files: nested only as deep as what walks through it can bear, and with numbers that JSON knows."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

__all__ = ["MAX_NESTING", "parsed_json", "require_plain"]

# Each generation of parents in a buffer's metadata takes three; Python's own limit is a thousand calls.
MAX_NESTING = 200
# So that it can be made a double.
_MAX_WHOLE = 10**300


def parsed_json(text: str | bytes) -> Any:
    """Parse a JSON text.

    Raises
    ------
    ValueError
        If it is not JSON (NaN and Infinity are not), or see `require_plain`; says why in a few words.
    """
    try:
        parsed = json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("lists or objects are nested too deeply") from None
    return require_plain(parsed)


def require_plain(value: Any) -> Any:
    """Return a JSON value that is nested at most `MAX_NESTING` deep and whose numbers fit a double.

    Raises
    ------
    ValueError
        If it is nested deeper, or holds a larger number.
    """
    level, depth = [value], 0
    while level:
        if depth > MAX_NESTING:
            raise ValueError(f"lists or objects are nested more than {MAX_NESTING} deep")
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
            elif isinstance(item, float) and not math.isfinite(item):  # such as 1e999
                raise ValueError("a number is too large for a double")
            elif isinstance(item, int) and abs(item) > _MAX_WHOLE:
                raise ValueError("a number is too large: it has more than 300 digits")
        level, depth = inner, depth + 1
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")
