"""What every operation shares: opening parents, writing through the one writer, saying where a buffer comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rlbuffers.conversion.convert import Progress, convert
from rlbuffers.errors import UsageError
from rlbuffers.paths import Url
from rlbuffers.reader import Buffer
from rlbuffers.sources.base import Source
from rlbuffers.stores import format_of
from rlbuffers.tally import Tally, tally_of
from rlbuffers.writing.storage_options import StorageOptions

__all__ = [
    "BufferOrPath",
    "EditReport",
    "OnProgress",
    "Parent",
    "derive",
    "described_parent",
    "opened",
    "require_output",
]

BufferOrPath = Buffer | str | Path
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Parent:
    """A buffer that another one was made of.

    Parameters
    ----------
    path : str
        Where it was read.
    tally : Tally
        Everything that it holds.
    fingerprint : str
        Content hash.
    """

    path: str
    tally: Tally
    fingerprint: str


@dataclass(frozen=True)
class EditReport:
    """What an operation made.

    Parameters
    ----------
    operation : str
        Its name.
    path : Path
        The new buffer.
    parents : list of Parent
        What it was made of.
    written : Tally
        Episodes, transitions and summed rewards of the new buffer, read back.
    fingerprint : str
        Content hash of the new buffer.
    buffer_bytes : int
        Size on disk.
    seconds : float
        Wall time.
    notes : list of str
        What a user should know, a sentence each.
    """

    operation: str
    path: Path
    parents: list[Parent]
    written: Tally
    fingerprint: str
    buffer_bytes: int
    seconds: float
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**asdict(self), "path": str(self.path)}


@contextmanager
def opened(buffer: BufferOrPath) -> Iterator[Buffer]:
    """Open a path without a cache, since operations read every row once; leave an open buffer open."""
    if isinstance(buffer, Buffer):
        yield buffer
        return
    with Buffer(buffer, cache=0) as found:
        yield found


def require_output(output: Path, parents: Sequence[Buffer]) -> None:
    """Refuse to write over a parent, which the new buffer's metadata name as its origin.

    Raises
    ------
    UsageError
        If the output is one of the parents, or its name that of no container.
    """
    format_of(output)
    for parent in parents:
        if isinstance(parent.path, Url):
            continue  # nothing is written to addresses
        if output == parent.path or (output.exists() and parent.path.exists() and output.samefile(parent.path)):
            raise UsageError(f"{output}: is what is read; choose another name for the output")


def derive(
    source: Source[Any],
    output: str | Path,
    operation: str,
    arguments: Mapping[str, Any],
    parents: Sequence[Buffer],
    *,
    overwrite: bool,
    on_progress: OnProgress | None = None,
    storage: StorageOptions | None = None,
    facts: Mapping[str, Any] | None = None,
    described_parents: Sequence[Mapping[str, Any]] | None = None,
    notes: Sequence[str] = (),
    into: Path | None = None,
) -> EditReport:
    """Write what a source selects of its parents; the metadata tell the operation, its arguments and the parents.

    Parameters
    ----------
    source : Source
        Rows of the parents.
    output : str or Path
        The new buffer.
    operation, arguments
        For the metadata: what was done, so that it can be done again.
    parents : sequence of Buffer
        Open buffers.
    overwrite, storage, into
        As in `rlbuffers.convert`.
    on_progress : callable, optional
        Is given (transitions so far, transitions in all).
    facts : mapping, optional
        More metadata.
    described_parents : sequence of mapping, optional
        What is said of the parents, by `described_parent` unless given.
    notes : sequence of str
        For the report.
    """
    path = Path(output)
    require_output(path, parents)
    told = described_parents or [described_parent(parent) for parent in parents]
    derivation = {"operation": operation, "arguments": dict(arguments), "parents": list(told)}
    # Before converting: a parent that cannot be counted makes no buffer.
    counted = [Parent(str(parent.path), _tally_by_metadata(parent), parent.fingerprint) for parent in parents]
    report = convert(
        source,
        path,
        overwrite=overwrite,
        on_progress=None if on_progress is None else _counting(on_progress),
        facts={**(facts or {}), "derivation": derivation},
        storage=storage,
        into=into,
    )
    return EditReport(
        operation,
        report.path,
        counted,
        report.written,
        report.fingerprint,
        report.buffer_bytes,
        report.seconds,
        list(notes),
    )


def described_parent(buffer: Buffer, **more: Any) -> dict[str, Any]:
    """Say for the metadata what a parent was and where that one came from, as far back as is known."""
    written_by = buffer.metadata.get("written_by", {})
    known = {name: written_by[name] for name in ("command", "created") if name in written_by}
    return {
        "name": buffer.path.name,
        "fingerprint": buffer.fingerprint,
        "counts": dict(buffer.metadata["counts"]),
        **({"written_by": known} if known else {}),
        **({"derivation": buffer.metadata["derivation"]} if "derivation" in buffer.metadata else {}),
        **more,
    }


def _tally_by_metadata(buffer: Buffer) -> Tally:
    total = buffer.metadata["statistics"].get("reward_sum")
    if total is None:
        return tally_of(buffer)
    return Tally(buffer.num_episodes if buffer.spec.layout == "episodes" else None, len(buffer), float(total))


def _counting(on_progress: OnProgress) -> Progress:
    return lambda done, total, count: on_progress(count, total or count)
