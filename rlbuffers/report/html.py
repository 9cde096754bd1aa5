"""Pieces of HTML. Every text passes through `escape`, so nothing that data say becomes markup or script."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["definitions", "escape", "figure", "json_script", "listing", "table"]


def escape(text: object) -> str:
    """Return text for use between tags and in quoted attributes."""
    return html.escape(str(text), quote=True)


def json_script(identity: str, value: Any) -> str:
    """Return a block of data for scripts; no text in it can end the block."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    safe = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return f'<script type="application/json" id="{escape(identity)}">{safe}</script>'


def definitions(facts: Mapping[str, object]) -> str:
    """Return names and values as a definition list."""
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    return f'<dl class="facts">{rows}</dl>'


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table that scrolls sideways where it is wider than the page."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{escape(value)}</td>' for value in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def listing(texts: Iterable[object]) -> str:
    """Return sentences as a list; words between backticks are code."""
    items = (re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text)) for text in texts)
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"


def figure(number: int, kind: str, key: str, title: str, caption: str, *, wide: bool = False) -> str:
    """Return the place of a figure, which a script fills, with its caption.

    Parameters
    ----------
    number : int
        Of the figure.
    kind : str
        What draws it.
    key : str
        Which entry of the page's data it shows.
    title : str
        First words of the caption.
    caption : str
        The rest.
    wide : bool, default False
        Whether it takes the whole width.
    """
    classes = "wide" if wide else ""
    marks = {"kind": kind, "key": key, "title": title}
    data = " ".join(f'data-{name}="{escape(value)}"' for name, value in marks.items())
    return (
        f'<figure class="{classes}" id="fig-{number}"><div class="plot" {data}></div>'
        f"<figcaption><b>Figure {number}.</b> {escape(f'{title}. {caption}'.strip())}</figcaption></figure>"
    )
