"""`rlbuffers convert SOURCE`: one file here for each source format, loaded when it is asked for."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError
from rlbuffers.sources import SOURCES

__all__ = ["convert"]

_WORDS = "rlbuffers.words"


class _Sources(click.Group):
    """Finds the command of a source format by the format's name, and says so where another one was meant."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_WORDS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except CorruptDataError:
            raise
        except (FormatError, BufferNotFoundError) as error:
            hint = self._hint(ctx)
            if not hint:
                raise
            raise type(error)(f"{error}. {hint}") from error

    def _hint(self, ctx: click.Context) -> str | None:
        """Say what the first input that is there looks to be, unless that is what it was taken for."""
        from rlbuffers.sources.recognize import BUFFER, recognized

        name, *words = ctx.meta[_WORDS]
        command = self.get_command(ctx, name)
        for path in _inputs(command, words) if command is not None else ():
            found = recognized(path) if path.exists() else None
            if found == BUFFER:
                return f"{path} is an rlbuffers buffer already; `rlbuffers export` writes it in other formats"
            if found is not None and found != name:
                return f"{path} looks like one of `rlbuffers convert {found}`: {SOURCES[found].summary}"
        return None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(SOURCES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in SOURCES:
            return None
        module = importlib.import_module(f"rlbuffers_cli.commands.convert.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command


@click.command(cls=_Sources)
def convert() -> None:
    """Convert a dataset of another format into a buffer."""


def _inputs(command: click.Command, words: list[str]) -> list[Path]:
    """Return the words that may name something to read: arguments and paths, but not the output and folders of ours."""
    values, _, _ = command.make_parser(click.Context(command)).parse_args(list(words))
    found: list[Path] = []
    for parameter in command.params:
        is_path = isinstance(parameter.type, click.Path) and parameter.type.file_okay and parameter.name != "output"
        if is_path or isinstance(parameter, click.Argument):
            given = values.get(str(parameter.name))
            words_given = given if isinstance(given, list | tuple) else [given]
            found += [Path(word) for word in words_given if isinstance(word, str)]
    return found
