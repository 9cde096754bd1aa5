"""`rlbuffers info BUFFER`: what is in it, where it came from, what it costs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from rlbuffers.listing import listed

if TYPE_CHECKING:
    from rlbuffers.reader import Buffer

__all__ = ["info"]


@click.command()
@click.argument("buffer", metavar="BUFFER")
@click.option("--cache", default="1GiB", show_default=True, help="Memory to plan for, such as 500MB or 2GB.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def info(buffer: str, cache: str, as_json: bool) -> None:
    """Show BUFFER's columns, counts, statistics, sizes and origin, and what a cache would hold of it.

    Reads the metadata only; `rlbuffers validate` reads the data.
    """
    import rlbuffers
    from rlbuffers.inspecting.footprint import footprint
    from rlbuffers_cli.console import print_json

    with rlbuffers.open(buffer, cache=cache) as opened:
        if as_json:
            sizes = footprint(opened)
            plan = {name: dataclasses.asdict(planned) for name, planned in opened.plan.items()}
            print_json(
                {
                    "path": str(opened.path),
                    **opened.metadata,
                    "warnings": opened.warnings,
                    "notes": opened.notes,
                    "sizes": sizes.to_json(),
                    "plan": plan,
                }
            )
        else:
            _print_page(opened, cache)


def _print_page(buffer: Buffer, cache: str) -> None:
    from rlbuffers.inspecting.footprint import footprint
    from rlbuffers.task_ends import ending_facts
    from rlbuffers_cli.console import console, facts_table, rows_table, size_text, warn

    metadata, spec, sizes = buffer.metadata, buffer.spec, footprint(buffer)
    facts = {
        "path": buffer.path,
        "fingerprint": buffer.fingerprint,
        "layout": f"{spec.layout}, order: {spec.order}",
        **{name.replace("_", " "): f"{count:,}" for name, count in metadata["counts"].items()},
    }
    console.print(facts_table("Buffer", facts))
    console.print()
    rows = [
        [name, spec.batch_column(name).dtype.name, str(spec.batch_column(name).shape), _origin(buffer, name)]
        for name in spec.batch_names
    ]
    rows += [
        [f"episodes/{name}", column.dtype.name, str(column.shape), "once an episode"]
        for name, column in spec.episode_columns.items()
    ]
    rows += [
        [f"extras/{name}", column.dtype.name, str(buffer.extra(name).shape), "of the whole buffer"]
        for name, column in spec.extras.items()
    ]
    console.print(rows_table("Columns", ["name", "dtype", "shape", "values"], rows))
    console.print()
    console.print(facts_table("Statistics", _statistics(metadata["statistics"])))
    console.print()
    shown = {
        "on disk": size_text(sizes.disk_bytes),
        "per transition": f"{sizes.disk_bytes / len(buffer):,.0f} bytes on disk, {sizes.transition_bytes:,} decoded",
        "RAM to train from the file": size_text(sizes.resident_bytes),
        "RAM with all columns decoded, frames once": size_text(sizes.decoded_bytes),
        "RAM with every stack stored apart": size_text(sizes.stacked_bytes),
    }
    console.print(facts_table("Sizes", shown))
    console.print()
    console.print(facts_table(f"In a cache of {cache}", _plan(buffer)))
    if metadata.get("scalars"):
        console.print()
        scalars = {name: scalar["value"] for name, scalar in metadata["scalars"].items()}
        console.print(facts_table("Scalars", scalars))
    environment = metadata.get("environment") or {}
    described = {**metadata, "environment": {**environment, **ending_facts(environment)}}
    for section in ("environment", "behavior_policy", "source", "measurements", "written_by"):
        if described.get(section):
            console.print()
            console.print(facts_table(section.replace("_", " ").capitalize(), _flat(described[section])))
    if metadata.get("derivation"):
        console.print()
        console.print("Derivation")
        for line in _lineage(metadata["derivation"]):
            console.print(line, soft_wrap=True)
    console.print()
    rest = {name: metadata[name] for name in ("license", "citation") if metadata.get(name)}
    for name, texts in (("notes", buffer.notes), ("left out", metadata.get("left_out", []))):
        rest.update({f"{name} {n}": text for n, text in enumerate(texts, 1)})
    console.print(facts_table("Terms and notes", rest))
    for text in buffer.warnings:
        warn(text)


def _origin(buffer: Buffer, name: str) -> str:
    space = buffer.spec.batch_column(name).space
    stored = name in buffer.arrays or (buffer.spec.stack and name in buffer.spec.columns)
    described = json.dumps({key: value for key, value in space.items() if key in ("type", "n")}) if space else ""
    return described if stored else f"{described} derived from the next step".strip()


def _plan(buffer: Buffer) -> dict[str, str]:
    """Say what is kept decoded, what compressed, and what is read from the file each time."""
    from rlbuffers.schema import STACK_INDEX
    from rlbuffers_cli.console import size_text

    shown = {}
    for place, described in (("decoded", "decoded"), ("compressed", "compressed"), ("file", "read each time")):
        chosen = {name: planned for name, planned in buffer.plan.items() if planned.place == place}
        if place == "file":
            chosen.pop(STACK_INDEX, None)  # known without reading it
        if chosen:
            size = sum(planned.resident_bytes for planned in chosen.values())
            shown[described] = listed(chosen) + (f": {size_text(size)}" if size else "")
    return shown


def _statistics(statistics: Mapping[str, Any]) -> dict[str, str]:
    shown = {}
    for name, value in statistics.items():
        if isinstance(value, dict):
            parts = [f"{key} {number:.6g}" for key, number in value.items() if isinstance(number, int | float)]
            if not parts and isinstance(value.get("mean"), list):
                parts = [f"mean and std of {len(value['mean'])} elements stored"]
            if parts:
                shown[name.replace("_", " ")] = ", ".join(parts)
        elif isinstance(value, int | float):
            shown[name.replace("_", " ")] = f"{value:,.6g}"
        elif isinstance(value, list):
            shown[name.replace("_", " ")] = ", ".join(f"{number:,}" for number in value)
    return shown


def _lineage(derivation: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """Yield a line for the operation, and indented ones for each parent and where that one comes from."""
    arguments = ", ".join(f"{name} {value}" for name, value in derivation.get("arguments", {}).items())
    operation = derivation.get("operation", "an unknown operation")
    yield f"{'  ' * depth}{operation}{f' ({arguments})' if arguments else ''} of"
    for parent in derivation.get("parents", ()):
        known = {"name": "an unknown buffer", "fingerprint": "", **parent}
        count = parent.get("counts", {}).get("transitions")
        counted = "" if count is None else f"{count:,} transitions, "
        rows = f", here from row {parent['first_row']:,}" if "first_row" in parent else ""
        yield f"{'  ' * (depth + 1)}{known['name']}: {counted}{known['fingerprint'][:16]}{rows}"
        if parent.get("derivation"):
            yield from _lineage(parent["derivation"], depth + 2)


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten nested facts into lines: ``files 1 sha256``."""
    lines: dict[str, str] = {}
    for key, item in value.items():
        name = f"{prefix}{str(key).replace('_', ' ')}"
        if isinstance(item, dict):
            lines.update(_flat(item, f"{name} "))
        elif isinstance(item, list) and item and isinstance(item[0], dict):
            for number, entry in enumerate(item, 1):
                lines.update(_flat(entry, f"{name} {number} "))
        else:
            lines[name] = str(item)
    return lines
