"""`rlbuffers validate BUFFER`: read all of it and check what it means."""

from __future__ import annotations

from collections import Counter

import click

from rlbuffers.listing import shortened

__all__ = ["validate"]

_MOST_OF_A_RULE = 10
_STYLES = {"ok": "green", "note": "dim", "warning": "bold yellow", "error": "bold red"}


@click.command()
@click.argument("buffer", metavar="BUFFER")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--strict", is_flag=True, help="Fail on warnings as well.")
@click.pass_context
def validate(ctx: click.Context, buffer: str, as_json: bool, strict: bool) -> None:
    """Read every byte of BUFFER, then check what the data mean.

    The exit code is 1 if a rule is broken.
    """
    from rlbuffers.validation.validate import validate as run_validation
    from rlbuffers_cli.console import console, print_json

    if as_json:
        report = run_validation(buffer)
        print_json(report.to_json())
    else:
        with console.status("Checking …") as status:
            report = run_validation(buffer, on_rule=lambda rule: status.update(f"Checking {rule} …"))
        shown: Counter[str] = Counter()
        for finding in report.findings:
            shown[finding.rule] += 1
            if shown[finding.rule] <= _MOST_OF_A_RULE:
                console.print(f"{finding.status:>7}", style=_STYLES[finding.status], end="  ")
                console.print(f"{finding.rule}: {shortened(finding.message)}", soft_wrap=True)
        for rule, count in shown.items():
            if count > _MOST_OF_A_RULE:
                console.print(f"{rule}: {count - _MOST_OF_A_RULE:,} more findings, which --json shows")
        counts = f"{len(report.errors)} errors, {len(report.warnings)} warnings"
        console.print(f"{report.path}: {'valid' if report.ok else 'NOT VALID'} ({counts})", soft_wrap=True)
    if not report.ok or (strict and report.warnings):
        ctx.exit(1)
