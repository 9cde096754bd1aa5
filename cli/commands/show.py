"""`rlbuffers show BUFFER [ROWS]` and `rlbuffers head BUFFER`: rows, and frames drawn in the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rlbuffers.listing import listed

if TYPE_CHECKING:
    from rlbuffers.reader import Buffer
    from rlbuffers_cli.excerpt import Excerpt

__all__ = ["head", "show"]

Command = TypeVar("Command", bound=Callable[..., Any])

_ROWS_OF_SHOW = 10
_ROWS_OF_HEAD = 5
_ROWS_A_TABLE = 40
_ROWS_OF_JSON = 1024
# Few rows are read, in order: whole columns are not worth decoding.
_CACHE_BYTES = 16 << 20


@dataclass(frozen=True)
class _Wish:
    """What the options ask for."""

    columns: tuple[str, ...]
    episode: int | None
    frames: bool | None
    stack: bool
    as_json: bool


def _options(command: Command) -> Command:
    options = [
        click.argument("buffer", metavar="BUFFER"),
        click.option("--episode", type=int, metavar="N", help="Rows of episode N; ROWS then count within it."),
        click.option("--columns", multiple=True, metavar="NAME[,NAME...]", help="Which columns.  [default: what fits]"),
        click.option("--frames/--no-frames", default=None, help="Draw frames.  [default: in a terminal]"),
        click.option("--stack", is_flag=True, help="Draw every frame of an observation, not only the newest."),
        click.option("--json", "as_json", is_flag=True, help="Print a list of objects; frames only if --columns asks."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command(context_settings={"ignore_unknown_options": True})  # -10: is no option
@_options
@click.argument("rows", metavar="[ROWS]", required=False)
@click.option("--rows", "rows_option", metavar="ROWS", help="The same as ROWS.")
def show(buffer: str, rows: str | None, rows_option: str | None, **wish: Any) -> None:
    """Show rows of BUFFER, and draw frames.

    ROWS are numbers and slices: 5, 100:110, -10:, or 1,4,7:9; the first ten by default, or a whole episode.
    """
    from rlbuffers.errors import UsageError

    if rows is not None and rows_option is not None:
        raise UsageError(f"rows are given twice: {rows!r} and --rows {rows_option!r}; drop one of them")
    default = f":{_ROWS_OF_SHOW}" if wish["episode"] is None else ":"
    _show(buffer, rows or rows_option or default, _wish(**wish))


@click.command()
@_options
@click.option("-n", "count", type=click.IntRange(min=1), default=_ROWS_OF_HEAD, show_default=True, help="Rows.")
def head(buffer: str, count: int, **wish: Any) -> None:
    """Show the first rows of BUFFER; see `rlbuffers show`."""
    _show(buffer, f":{count}", _wish(**wish))


def _wish(columns: Sequence[str], episode: int | None, frames: bool | None, stack: bool, as_json: bool) -> _Wish:
    names = tuple(name.strip() for text in columns for name in text.split(","))
    return _Wish(names, episode, frames, stack, as_json)


def _show(path: str, rows: str, wish: _Wish) -> None:
    import rlbuffers
    from rlbuffers_cli.console import console
    from rlbuffers_cli.excerpt import Excerpt

    with rlbuffers.open(path, cache=_CACHE_BYTES) as buffer:
        excerpt = Excerpt(buffer, rows, wish.episode, wish.columns)
        drawn = console.is_terminal if wish.frames is None else wish.frames
        if wish.as_json:
            _print_json(excerpt)
        elif drawn and excerpt.picture_column and not (wish.columns and excerpt.picture_column not in wish.columns):
            _print_strip(buffer, excerpt, stack=wish.stack)
        else:
            _print_table(excerpt)


def _print_json(excerpt: Excerpt) -> None:
    from rlbuffers_cli.row_table import json_value

    names = excerpt.json_columns
    separator = "[\n"
    for indices in excerpt.blocks(_ROWS_OF_JSON):
        labels, rows = excerpt.labels(indices), excerpt.read(indices, names)
        listed = {**{name: numbers.tolist() for name, numbers in labels.items()}}
        listed |= {name: json_value(values) for name, values in rows.items()}
        objects = (dict(zip(listed, row, strict=True)) for row in zip(*listed.values(), strict=True))
        click.echo(separator + ",\n".join(json.dumps(item, ensure_ascii=False) for item in objects), nl=False)
        separator = ",\n"
    click.echo("[]" if separator == "[\n" else "\n]")


def _print_table(excerpt: Excerpt) -> None:
    from rlbuffers_cli.console import console
    from rlbuffers_cli.fitted_table import print_unfolded
    from rlbuffers_cli.row_table import table_of_rows

    left_out: list[str] = []
    for indices in excerpt.blocks(_ROWS_A_TABLE):
        labels = {name: numbers.tolist() for name, numbers in excerpt.labels(indices).items()}
        width = console.width if console.is_terminal else None
        table, left_out = table_of_rows(labels, excerpt.read(indices, excerpt.table_columns), width)
        if console.is_terminal:
            console.print(table)
        else:
            print_unfolded(table)
    if left_out:
        console.print(f"not shown: {listed(left_out)} (--columns shows them)", soft_wrap=True)
    _print_count(excerpt)


def _print_strip(buffer: Buffer, excerpt: Excerpt, *, stack: bool) -> None:
    from rlbuffers_cli.console import console
    from rlbuffers_cli.frame_strip import lines_of_strip

    colors = console.color_system is not None and not console.no_color
    for thumbnails in _batched_thumbnails(excerpt, stack=stack):
        for line in lines_of_strip(thumbnails, console.width, colors=colors):
            console.print(line, no_wrap=True, overflow="crop")
    others = [name for name in excerpt.table_columns if name not in excerpt.captioned]
    if others:
        console.print(f"not shown: {listed(others)} (--no-frames shows a table)", soft_wrap=True)
    _print_count(excerpt)


def _batched_thumbnails(excerpt: Excerpt, *, stack: bool) -> Iterator[list[Any]]:
    for indices in excerpt.blocks(_ROWS_A_TABLE):
        yield excerpt.thumbnails(indices, stack=stack)


def _print_count(excerpt: Excerpt) -> None:
    from rlbuffers_cli.console import console

    console.print(excerpt.description, soft_wrap=True)
