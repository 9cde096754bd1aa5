"""What the subcommands of `convert` share: options, the run, and the closing lines."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rlbuffers.listing import listed
from rlbuffers.local_inputs import followed_links
from rlbuffers.paths import DEFAULT_BUFFER_DIR
from rlbuffers_cli.option_types import Numbers, OutputPath

if TYPE_CHECKING:
    from rlbuffers.conversion.convert import ConversionReport
    from rlbuffers.sources.base import Source
    from rlbuffers.stated_actions import StatedActions
    from rlbuffers.tally import Tally

__all__ = [
    "CONTAINERS",
    "OutputOptions",
    "counted",
    "files_argument",
    "left_out_facts",
    "map_option",
    "names_of_pairs",
    "output_options",
    "run_conversion",
    "terminals_option",
    "told_of_interruptions",
]

Command = TypeVar("Command", bound=Callable[..., Any])

_MOST_LEFT_OUT = 20
_STATED = ("num_actions", "first_action", "action_low", "action_high")
CONTAINERS = click.Choice(["hdf5", "zarr", "zip"])
_OUTPUT_OPTIONS = (
    click.option("-o", "--output", type=OutputPath(), help="The buffer, .hdf5, .zarr or .zarr.zip."),
    click.option(
        "--buffer-dir",
        type=OutputPath(file_okay=False),
        default=DEFAULT_BUFFER_DIR,
        show_default=True,
        help="Where buffers are written if --output is not given.",
    ),
    click.option("--format", "format_name", type=CONTAINERS, help="Container.  [default: hdf5]"),
    click.option("--overwrite", is_flag=True, help="Replace an existing buffer."),
    click.option(
        "--follow-links",
        is_flag=True,
        help="Read other files, too, that the source's files and folders lead to (links, virtual datasets). Without "
        "it such a source is refused.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=0),
        default=max((os.cpu_count() or 1) - 1, 0),
        show_default="CPU cores - 1",
        help="Processes that help this one.",
    ),
    click.option(
        "--num-actions",
        type=click.IntRange(min=1),
        help="How many numbered actions there are, for files that do not say so.",
    ),
    click.option("--first-action", type=int, help="Number of the first one.  [default: 0]"),
    click.option("--action-low", type=Numbers(), help="Lower bounds of actions that are vectors: one, or one each."),
    click.option("--action-high", type=Numbers(), help="Upper bounds."),
    click.option(
        "--sha256",
        "hashes",
        metavar="HEX",
        multiple=True,
        help="SHA-256 that the source's file must have. With several files: once for each, in their order.",
    ),
)


@dataclass(frozen=True)
class OutputOptions:
    """What the options say of the buffer that is to be made.

    Parameters
    ----------
    output : Path or None
        Its path, if that was given.
    buffer_dir : Path
        Where it is made otherwise.
    format_name : str or None
        Its container; of a path that was given, or HDF5, if None.
    overwrite : bool
        Whether an existing buffer is replaced.
    workers : int
        Processes that help.
    stated : StatedActions
        The space of actions, where the user states one.
    hashes : tuple of str
        SHA-256 of the source's files, where the user gives them.
    """

    output: Path | None
    buffer_dir: Path
    format_name: str | None
    overwrite: bool
    workers: int
    stated: StatedActions
    hashes: tuple[str, ...] = ()

    def path(self, default: Path) -> Path:
        """Tell where the buffer goes, and refuse early if it is there already.

        Parameters
        ----------
        default : Path
            Place below `buffer_dir`, without the suffix.

        Raises
        ------
        BufferExistsError, UsageError
            If the path is taken, or contradicts the format.
        """
        from rlbuffers.errors import BufferExistsError, UsageError
        from rlbuffers.stores import FORMATS, format_of

        if self.output is None:
            path = self.buffer_dir.expanduser() / f"{default}{FORMATS[self.format_name or 'hdf5'].suffix}"
        else:
            path = self.output.expanduser()
            found, wanted = format_of(path), self.format_name
            if wanted not in (None, found):
                raise UsageError(f"{path}: the name says {found}, --format says {wanted}; drop one of them")
        if path.exists() and not self.overwrite:  # before a long download
            raise BufferExistsError(f"{path}: exists already; pass --overwrite to replace it")
        return path


def output_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say where a buffer goes; the command gets them as ``output``, an `OutputOptions`."""

    @wraps(command)
    def with_output(
        *,
        output: Path | None,
        buffer_dir: Path,
        format_name: str | None,
        overwrite: bool,
        follow_links: bool,
        workers: int,
        hashes: tuple[str, ...],
        **others: Any,
    ) -> None:
        from rlbuffers.stated_actions import StatedActions

        stated = StatedActions(**{name: others.pop(name) for name in _STATED})
        with followed_links(follow_links):
            options = OutputOptions(output, buffer_dir, format_name, overwrite, workers, stated, hashes)
            command(output=options, **others)

    decorated: Callable[..., None] = with_output
    for option in reversed(_OUTPUT_OPTIONS):
        decorated = option(decorated)
    return decorated


def files_argument(metavar: str) -> Callable[[Command], Command]:
    """Return a decorator that adds one or more existing files or directories as ``paths``."""
    return click.argument(
        "paths", metavar=metavar, nargs=-1, required=True, type=click.Path(path_type=Path, exists=True)
    )


def map_option(example: str) -> Callable[[Command], Command]:
    """Return a decorator that adds ``--map COLUMN=NAME`` as ``pairs``, for `names_of_pairs`."""
    return click.option(
        "--map",
        "pairs",
        metavar="COLUMN=NAME",
        multiple=True,
        help=f"What a column of the file is in the buffer, such as {example}. Can be repeated.",
    )


def terminals_option(command: Command) -> Command:
    """Add ``--terminals end|goal`` as ``terminals``: what the file does not say about its flags."""
    return click.option(
        "--terminals",
        type=click.Choice(["end", "goal"]),
        help="What a terminal marks: the end of an episode, or a goal that play goes on from.  [default: what is known "
        "of the dataset, or else shown by the data]",
    )(command)


def names_of_pairs(pairs: tuple[str, ...]) -> dict[str, str]:
    """Return column to name in the buffer, as ``--map`` says.

    Raises
    ------
    UsageError
        If a pair has not two sides, or a column is named twice.
    """
    from rlbuffers.errors import UsageError

    names: dict[str, str] = {}
    for pair in pairs:
        column, separator, name = pair.rpartition("=")
        if not (separator and column and name) or column in names:
            raise UsageError(f"--map {pair}: expected COLUMN=NAME, such as o_t=observations, once for each column")
        names[column] = name
    return names


def run_conversion(sources: Sequence[Source[Any]], path: Path, options: OutputOptions, *, title: str) -> None:
    """Convert one source, or several into one buffer, and print what was made."""
    from rlbuffers.conversion.convert import convert
    from rlbuffers.sources.concatenated import ConcatenatedSource
    from rlbuffers.sources.stated_actions import StatedActionsSource
    from rlbuffers_cli.console import progress_bar

    source = sources[0] if len(sources) == 1 else ConcatenatedSource(sources)
    if options.stated:
        source = StatedActionsSource(source, options.stated)
    with progress_bar() as progress, told_of_interruptions(path):
        bar = progress.add_task(f"Converting {title}", total=source.total)
        report = convert(
            source,
            path,
            overwrite=options.overwrite,
            workers=options.workers,
            sha256=options.hashes or None,
            on_progress=lambda done, total, count: progress.update(bar, completed=done, total=total, count=count),
        )
        progress.update(bar, completed=source.total)
    _print_report(report)


@contextmanager
def told_of_interruptions(path: Path) -> Iterator[None]:
    """Say what an earlier writer of a path left when it was killed, and what is left if the block is interrupted."""
    from rlbuffers.hidden_paths import partial_of
    from rlbuffers.writing.journal import num_journaled
    from rlbuffers_cli.console import warn

    partial = partial_of(path)
    earlier = num_journaled(partial)
    if earlier:
        warn(
            f"{path}: an interrupted run left {earlier:,} transitions, which are kept until the same command has "
            f"succeeded; `rlbuffers repair {path} -o NEW` makes a buffer of them"
        )
    try:
        yield
    except BaseException:
        kept = num_journaled(partial)
        if kept and kept != earlier:
            warn(f"{path}: {kept:,} transitions are kept; `rlbuffers repair {path} -o NEW` makes a buffer of them")
        raise


def _print_report(report: ConversionReport) -> None:
    from rlbuffers_cli.console import console, facts_table, size_text, warn

    ratio = f" ({report.buffer_bytes / report.source_bytes:.0%} of the source)" if report.source_bytes else ""
    facts = {
        "buffer": report.path,
        "in": counted(report.read),
        "out": counted(report.written),
        "size": f"{size_text(report.buffer_bytes)}{ratio}",
        "time": f"{report.seconds:.1f} s, {report.transitions / report.seconds:,.0f} transitions/s",
        "fingerprint": report.fingerprint,
        **{name.replace("_", " "): _shown(value) for name, value in report.measurements.items()},
        **left_out_facts(report.left_out),
        **{f"note {number}": text for number, text in enumerate(report.notes, 1)},
    }
    console.print(facts_table("Converted", facts))
    for warning in report.warnings[:_MOST_LEFT_OUT]:
        warn(warning)
    if len(report.warnings) > _MOST_LEFT_OUT:
        warn(f"... and {len(report.warnings) - _MOST_LEFT_OUT:,} more, which `rlbuffers info` shows")


def left_out_facts(left_out: Sequence[str]) -> dict[str, str]:
    """Return the lines of a closing table that say what is left out; of very many, the first ones."""
    more = len(left_out) - _MOST_LEFT_OUT
    facts = {f"left out {number}": text for number, text in enumerate(left_out[:_MOST_LEFT_OUT], 1)}
    return {**facts, **({"left out": f"... and {more:,} more"} if more > 0 else {})}


def counted(tally: Tally) -> str:
    """Return episodes, transitions and summed rewards in words."""
    episodes = "" if tally.episodes is None else f"{tally.episodes:,} episodes, "
    return f"{episodes}{tally.transitions:,} transitions, rewards sum to {tally.reward_sum:,.10g}"


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return listed(f"{name}: {_shown(count)}" for name, count in value.items())
    if isinstance(value, list):
        return listed(_shown(item) for item in value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
