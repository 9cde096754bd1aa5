"""`rlbuffers convert SOURCE`: one file here for each source format, loaded when it is asked for."""

from __future__ import annotations

import importlib

import click

from rlbuffers.sources import SOURCES

__all__ = ["convert"]


class _Sources(click.Group):
    """Finds the command of a source format by the format's name."""

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
