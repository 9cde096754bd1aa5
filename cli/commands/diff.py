"""`rlbuffers diff A B`: whether two buffers hold the same, and where not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rlbuffers.editing.diff import DiffReport

__all__ = ["diff"]

_SHOWN_CHARACTERS = 60


@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
@click.pass_context
def diff(ctx: click.Context, first: str, second: str, as_json: bool) -> None:
    """Say whether A and B hold the same content, and where not, by value.

    The exit code is 0 if their content is equal, whatever their containers and metadata, and 1 if not.
    """
    import rlbuffers
    from rlbuffers_cli.console import console, print_json

    if as_json:
        report = rlbuffers.diff(first, second)
        print_json(report.to_json())
    else:
        with console.status("Comparing …") as status:
            report = rlbuffers.diff(first, second, on_array=lambda name: status.update(f"Comparing {name} …"))
        _print_report(report)
    if not report.equal:
        ctx.exit(1)


def _print_report(report: DiffReport) -> None:
    from rlbuffers_cli.console import console, rows_table

    for title, differences in (("Columns", report.specs), ("Counts", report.counts), ("Metadata", report.metadata)):
        if differences:
            rows = [[found.where, _text(found.first), _text(found.second)] for found in differences]
            console.print(rows_table(title, ["what", "A", "B"], rows))
            console.print()
    if report.arrays:
        rows = [
            [
                found.name,
                f"{found.differing_rows:,} of {found.compared_rows:,}",
                "" if found.first_row is None else f"{found.first_row:,}",
                "" if found.max_difference is None else f"{found.max_difference:.6g}",
                "" if found.rows[0] == found.rows[1] else f"{found.rows[0]:,} and {found.rows[1]:,} rows",
            ]
            for found in report.arrays
        ]
        console.print(rows_table("Values", ["array", "differing rows", "first", "by at most", "lengths"], rows))
        console.print()
    verdict = "hold the same content" if report.equal else "DIFFER"
    console.print(f"{report.first} and {report.second} {verdict}", soft_wrap=True)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
