"""Facts as Markdown tables, in which no text of the data can break the page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["bullets", "cell", "facts_table", "fenced", "literal", "rows_table"]

_SHOWN_OF_A_LIST = 16


def rows_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table with a header; cells are formatted by `cell`."""
    lines = [f"| {' | '.join(columns)} |", f"| {' | '.join('---' for _ in columns)} |"]
    lines += [f"| {' | '.join(cell(value) for value in row)} |" for row in rows]
    return "\n".join(lines)


def facts_table(facts: Mapping[str, Any]) -> str:
    """Return a table of two columns without a header, sorted by name."""
    lines = ["| | |", "| --- | --- |"]
    lines += [f"| {cell(name.replace('_', ' '))} | {cell(value)} |" for name, value in sorted(facts.items())]
    return "\n".join(lines)


def bullets(texts: Iterable[Any]) -> str:
    """Return a list of sentences, a line each."""
    return "\n".join(f"- {_escaped(str(text))}" for text in texts)


def cell(value: Any) -> str:
    """Return a JSON value as the text of a table's cell."""
    return _escaped(_text(value)).replace("|", "\\|")


def fenced(text: str, language: str) -> str:
    """Return text as a block of code, which nothing in it can end."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"


def literal(text: str) -> str:
    """Return text as inline code that is shown as it is."""
    flat = " ".join(str(text).split())
    fence = "``" if "`" in flat else "`"
    return f"{fence} {flat} {fence}" if "`" in flat else f"{fence}{flat}{fence}"


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list):
        shown = ", ".join(_text(item) for item in value[:_SHOWN_OF_A_LIST])
        left_out = len(value) - _SHOWN_OF_A_LIST
        return f"{shown}, and {left_out:,} more" if left_out > 0 else shown
    return str(value)


def _escaped(text: str) -> str:
    """Keep text on one line, and HTML in it from being HTML."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", " ".join(text.split()))
