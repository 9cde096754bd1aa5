"""`rlbuffers list [DIR ...]`: the buffers below directories, or the published datasets, one line each."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlbuffers.paths import DEFAULT_BUFFER_DIR

if TYPE_CHECKING:
    from rlbuffers.inspecting.catalog import CatalogEntry

__all__ = ["list_buffers"]

_COLUMNS = ("name", "task", "layout", "transitions", "episodes", "return", "size", "format", "fingerprint")
_DROPPABLE = ("format", "layout", "fingerprint", "size", "episodes", "task")
_NUMBERS = ("episodes", "return", "size")
_FINGERPRINT_DIGITS = 8


@click.command("list")
@click.argument("places", metavar="[DIR ...]", nargs=-1)
@click.option(
    "--remote", is_flag=True, help="List published datasets instead: all, or those whose names match the arguments."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_buffers(places: tuple[str, ...], remote: bool, as_json: bool) -> None:
    """List the buffers below each DIR.

    Without DIR, those below the folder that convert writes into. Reads metadata only. What is damaged, interrupted
    or being written is listed with the reason.

    With --remote, arguments are parts of names, or patterns such as 'd4rl:hopper-*'. Nothing is asked of a server.
    """
    from rlbuffers.inspecting.catalog import catalog
    from rlbuffers_cli.console import print_json

    if remote:
        _print_published(places, as_json=as_json)
        return
    existing = click.Path(path_type=Path, exists=True, file_okay=False)
    folders = [existing.convert(place, None, click.get_current_context()) for place in places]
    wanted = folders or [DEFAULT_BUFFER_DIR.expanduser()]
    listed = {folder: list(catalog(folder)) if folder.exists() else [] for folder in wanted}
    if as_json:
        print_json([entry.to_json() for entries in listed.values() for entry in entries if entry.state != "foreign"])
        return
    for folder, entries in listed.items():
        _print_folder(folder, entries)


def _print_published(patterns: tuple[str, ...], *, as_json: bool) -> None:
    from dataclasses import asdict

    from rlbuffers import datasets
    from rlbuffers.errors import UsageError
    from rlbuffers.published import EXAMPLES
    from rlbuffers_cli.console import console, print_json, size_text
    from rlbuffers_cli.fitted_table import print_fitted

    found = {dataset.name: dataset for pattern in patterns or (None,) for dataset in datasets(pattern)}
    if not found:
        raise UsageError(f"no published dataset has a name like {' or '.join(patterns)}; see `rlbuffers list --remote`")
    if as_json:
        print_json([asdict(dataset) for dataset in found.values()])
        return
    rows = [
        [one.name, one.about, one.num_files, "" if one.num_bytes is None else size_text(one.num_bytes)]
        for one in found.values()
    ]
    print_fitted("Published datasets", ("name", "about", "files", "size"), rows, ("about",), ("files", "size"))
    others = " and ".join(f"{prefix}:{EXAMPLES[prefix]}" for prefix in ("minari", "tfds"))
    console.print(
        f"{len(found):,} datasets. In Python: rlbuffers.convert(NAME, PATH), also names such as {others}.",
        soft_wrap=True,
        highlight=False,
    )


def _print_folder(folder: Path, entries: list[CatalogEntry]) -> None:
    from rlbuffers_cli.console import console, size_text
    from rlbuffers_cli.fitted_table import print_fitted

    whole = [entry for entry in entries if entry.state == "whole"]
    unsound = [entry for entry in entries if entry.state not in ("whole", "foreign")]
    foreign = sum(entry.state == "foreign" for entry in entries)
    if whole:
        print_fitted(str(folder), _COLUMNS, [_row(entry, folder) for entry in whole], _DROPPABLE, _NUMBERS)
    for entry in unsound:
        name = entry.path.relative_to(folder)
        console.print(f"{name}: {entry.problem}", soft_wrap=True, style="bold yellow")
    if not whole and not unsound:
        console.print(f"{folder}: no buffers here{_of_others(foreign)}", soft_wrap=True)
        return
    states = Counter(entry.state for entry in unsound)
    told = "".join(f", {count} {state}" for state, count in sorted(states.items()))
    rows = sum(entry.facts.transitions for entry in whole if entry.facts)
    size = size_text(sum(entry.disk_bytes for entry in whole))
    plural = "buffer" if len(whole) == 1 else "buffers"
    console.print(f"{len(whole):,} {plural}, {rows:,} transitions, {size}{told}{_of_others(foreign)}", soft_wrap=True)


def _of_others(count: int) -> str:
    return f" ({count} HDF5 or Zarr {'file' if count == 1 else 'files'} of other programs)" if count else ""


def _row(entry: CatalogEntry, folder: Path) -> list[Any]:
    from rlbuffers_cli.console import size_text

    facts = entry.facts
    if facts is None:
        raise ValueError(f"{entry.path}: a whole buffer has facts")
    return [
        str(entry.path.relative_to(folder)),
        facts.task,
        facts.layout,
        facts.transitions,
        "" if facts.episodes is None else f"{facts.episodes:,}",
        "" if facts.mean_return is None else f"{facts.mean_return:,.1f}",
        size_text(entry.disk_bytes),
        entry.format,
        facts.fingerprint[:_FINGERPRINT_DIGITS],
    ]
