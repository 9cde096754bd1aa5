"""`rlbuffers doctor`: what is installed, what works, and what to do about the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rlbuffers.diagnosis.report import Diagnosis, GroupState

__all__ = ["doctor"]

_STYLES = {"works": "green", "missing": "dim", "incomplete": "yellow", "broken": "bold red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check this installation and say what works.

    Python, packages, extras and the formats that they enable; every package is imported in a process of its own. The
    exit code is 1 if the core does not work or something that is installed is broken.
    """
    from rlbuffers.diagnosis.report import diagnose
    from rlbuffers_cli.console import console, print_json

    if as_json:
        found = diagnose()
        print_json(found.to_json())
    else:
        with console.status("Importing every package …"):
            found = diagnose()
        _print(found)
    if not found.ok:
        ctx.exit(1)


def _print(found: Diagnosis) -> None:
    from rlbuffers_cli.console import console, facts_table, rows_table

    decoders = {f"decoding {kind}": how for kind, how in found.decoders.items()}
    facts = {"rlbuffers": found.version, **found.machine, **decoders, **({"torch": found.torch} if found.torch else {})}
    console.print(facts_table("Installation", facts))
    console.print()
    core, *extras = found.groups
    rows = [[need.name, need.installed or "missing", need.asked] for need in core.needs]
    console.print(rows_table("Core packages", ["package", "installed", "needed"], rows))
    console.print()
    for group in extras:
        console.print(f"{group.name:<8}", style="cyan", end="")
        console.print(f"{group.state:<12}", style=_STYLES[group.state], end="")
        console.print(_told(group), soft_wrap=True)
    console.print()
    for problem in found.problems:
        console.print(problem, style="bold red", soft_wrap=True)
    count = len(found.problems)
    closing = f"{count} problem{'s' if count > 1 else ''}"
    console.print("everything that is installed works" if found.ok else closing)


def _told(group: GroupState) -> str:
    purpose = ", ".join(group.enables) or ", ".join(need.name for need in group.needs)
    absent = [need.name for need in group.needs if need.installed is None]
    remedy = f" [needs {', '.join(absent)}: pip install 'rlbuffers[{group.name}]']" if absent else ""
    return f"{purpose}{remedy}"
