"""The group of all commands, and what becomes of errors."""

from __future__ import annotations

import click

from rlbuffers import __version__
from rlbuffers.atomic import discard_unpublished
from rlbuffers.errors import RlbuffersError, UsageError
from rlbuffers.listing import shortened
from rlbuffers_cli.commands.bench import bench
from rlbuffers_cli.commands.card import card
from rlbuffers_cli.commands.compare import compare
from rlbuffers_cli.commands.convert import convert
from rlbuffers_cli.commands.diff import diff
from rlbuffers_cli.commands.doctor import doctor
from rlbuffers_cli.commands.evaluate import evaluate
from rlbuffers_cli.commands.export import export
from rlbuffers_cli.commands.export_policy import export_policy
from rlbuffers_cli.commands.filter import filter_command
from rlbuffers_cli.commands.formats import formats
from rlbuffers_cli.commands.generate import generate
from rlbuffers_cli.commands.info import info
from rlbuffers_cli.commands.list import list_buffers
from rlbuffers_cli.commands.merge import merge
from rlbuffers_cli.commands.normalize import normalize
from rlbuffers_cli.commands.repack import repack
from rlbuffers_cli.commands.repair import repair
from rlbuffers_cli.commands.report import report
from rlbuffers_cli.commands.show import head, show
from rlbuffers_cli.commands.split import split
from rlbuffers_cli.commands.subset import subset
from rlbuffers_cli.commands.train import train
from rlbuffers_cli.commands.validate import validate

__all__ = ["cli", "main"]

_EXIT_INTERRUPTED = 130


class _UsageFailure(click.ClickException):
    """An argument that cannot be obeyed; exits with 2 as click's own usage errors do."""

    exit_code = 2


class _CommandGroup(click.Group):
    """Turns the errors that rlbuffers raises on purpose into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except RlbuffersError as error:
            kind = _UsageFailure if isinstance(error, UsageError) else click.ClickException
            raise kind(shortened(" ".join(str(error).split()))) from error
        except BrokenPipeError:  # `rlbuffers info x | head`: click ends quietly
            raise
        except OSError as error:  # no space, no permission, no such folder
            place = f"{error.filename}: " if error.filename else ""
            reason = " ".join(str(error.strerror or error).split())  # HDF5's have several lines
            raise click.ClickException(shortened(f"{place}{reason}")) from error
        except MemoryError as error:
            raise click.ClickException(
                f"not enough memory: {shortened(' '.join(str(error).split())) or 'nothing is left'}"
            ) from error
        except KeyboardInterrupt as interruption:  # some tell how to go on
            discard_unpublished()
            told = str(interruption) or "\nStopped; nothing was left half written. The same command starts again."
            click.echo(told, err=True)
            raise click.exceptions.Exit(_EXIT_INTERRUPTED) from None


@click.group(cls=_CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="rlbuffers")
def cli() -> None:
    """Offline-RL replay buffers: convert, generate, check, edit, and train on them."""


cli.add_command(bench)
cli.add_command(card)
cli.add_command(compare)
cli.add_command(convert)
cli.add_command(diff)
cli.add_command(doctor)
cli.add_command(evaluate)
cli.add_command(export)
cli.add_command(export_policy)
cli.add_command(filter_command)
cli.add_command(formats)
cli.add_command(generate)
cli.add_command(head)
cli.add_command(info)
cli.add_command(list_buffers)
cli.add_command(merge)
cli.add_command(normalize)
cli.add_command(repack)
cli.add_command(report)
cli.add_command(repair)
cli.add_command(show)
cli.add_command(split)
cli.add_command(subset)
cli.add_command(train)
cli.add_command(validate)


def main() -> None:
    """Run the command line."""
    cli()
