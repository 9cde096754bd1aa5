"""The group of commands that the table of algorithms gives: a name, a line and the paper each."""

from __future__ import annotations

from pathlib import Path

import click

from rlbuffers.optional import require
from rlbuffers_train.algorithms import ACTION_KINDS, AlgorithmEntry, algorithm_names, entries_of

__all__ = ["train"]

_CONFIG = "--config"


class _AlgorithmGroup(click.Group):
    """Makes each command when it is asked for: only then are torch and the algorithm's file loaded."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the algorithm that a configuration names in front, where none is named."""
        if args and args[0].startswith("-"):
            for number, word in enumerate(args):
                option, _, value = word.partition("=")
                if option == _CONFIG and (value or number + 1 < len(args)):
                    args = [_algorithm_of(Path(value or args[number + 1])), *args]
                    break
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest algorithm where there is none of that name."""
        if args and not args[0].startswith("-"):
            entries_of(args[0])
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return algorithm_names()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in algorithm_names():
            return None
        from rlbuffers_cli.commands.train.running import algorithm_command

        return algorithm_command(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for data, title in (("buffer", "From a buffer"), ("online", "In the environment itself")):
            rows = []
            for name in algorithm_names():
                for number, entry in enumerate(entries_of(name)):
                    if entry.data == data:
                        rows += [("" if number else name, _about(entry)), ("", f"  {entry.paper}")]
            with formatter.section(title):
                formatter.write_dl(rows)


def _about(entry: AlgorithmEntry) -> str:
    return f"{ACTION_KINDS[entry.actions]}: {entry.summary}"


def _algorithm_of(path: Path) -> str:
    require("torch", extra="train", purpose="Training")
    from rlbuffers_train.running.run_config import read_config

    return read_config(path).algorithm


@click.command(cls=_AlgorithmGroup)
@click.option(
    _CONFIG,
    type=click.Path(path_type=Path),
    help="A run to train again: config.yaml or its folder.",
)
def train(config: Path | None) -> None:
    """Train an algorithm on a buffer, or an expert that makes one.

    Which variant runs follows from the actions in the data. `rlbuffers train NAME --help` lists the settings.
    """
