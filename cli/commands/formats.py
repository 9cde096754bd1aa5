"""`rlbuffers formats`: what can be read and written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

__all__ = ["formats"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def formats(as_json: bool) -> None:
    """List the formats that can be read and written, and the extras that they need."""
    from rlbuffers.exports import EXPORTS
    from rlbuffers.sources import SOURCES
    from rlbuffers_cli.console import console, print_json, rows_table

    tables = {"convert": _described(SOURCES), "export": _described(EXPORTS)}
    if as_json:
        print_json(tables)
        return
    for verb, rows in tables.items():
        title = "Read by rlbuffers convert" if verb == "convert" else "Written by rlbuffers export --to"
        shown = [[row["name"], row["summary"], _availability(row)] for row in rows]
        console.print(rows_table(title, ["name", "what", "available"], shown))
        console.print()


def _described(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "summary": entry.summary,
            "extra": entry.extra,
            "needed_for": entry.needed_for,
            "missing": entry.missing,
        }
        for name, entry in sorted(table.items())
    ]


def _availability(row: Mapping[str, Any]) -> str:
    if not row["missing"]:
        return "yes" + (f" (extra {row['extra']} is installed)" if row["extra"] else "")
    purpose = f"; without it no {row['needed_for'].removeprefix('a ')}" if row["needed_for"] else ""
    state = "partly" if row["needed_for"] else "no"
    return f"{state}: needs pip install 'rlbuffers[{row['extra']}]'{purpose}"
