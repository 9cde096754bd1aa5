"""The way out on one screen: buffer -> export -> a file or directory of another library."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

from rlbuffers.atomic import AtomicPath
from rlbuffers.errors import CorruptDataError, RlbuffersError
from rlbuffers.exports import export_class
from rlbuffers.kept_facts import kept_document, lost_on_readers
from rlbuffers.paths import refuse_address
from rlbuffers.reader import Buffer
from rlbuffers.schema import REWARDS
from rlbuffers.tally import Tally, require_equal, tally_of

__all__ = ["ExportReport", "export"]


@dataclass(frozen=True)
class ExportReport:
    """What an export made.

    Parameters
    ----------
    path : Path
        The finished file or directory.
    read, written : Tally
        Episodes, transitions and summed rewards as counted on the buffer and on the output.
    left_out : sequence of str
        What the format cannot hold.
    output_bytes : int
        Size on disk.
    seconds : float
        Wall time.
    """

    path: Path
    read: Tally
    written: Tally
    left_out: Sequence[str]
    output_bytes: int
    seconds: float


def export(
    buffer: Buffer,
    output: str | Path,
    to: str,
    *,
    overwrite: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> ExportReport:
    """Write a buffer in another library's format.

    Memory is bounded whatever the buffer's size, if the buffer was opened with a small
    `cache`. What is stopped at any moment leaves nothing under the output's name.

    Parameters
    ----------
    buffer : Buffer
        Where the rows come from; not closed.
    output : str or Path
        Where to write. A path; for ``minari`` the id of the dataset.
    to : str
        Name of the format, see ``rlbuffers formats``.
    overwrite : bool, default False
        Whether existing output is replaced once the new one is whole.
    on_progress : callable, optional
        Is given the number of transitions written so far.

    Raises
    ------
    UsageError
        If there is no such format.
    UnsupportedError
        If the format cannot hold such a buffer; says why.
    BufferExistsError, BufferBusyError
        If the output is taken or being written.
    CorruptDataError
        If what was written, read back, differs from the buffer.

    Examples
    --------
    >>> import rlbuffers
    >>> with rlbuffers.open("runs.hdf5") as buffer:
    ...     report = rlbuffers.export(buffer, "runs.npz", "npz")
    >>> report.written.transitions
    100
    """
    started = time.perf_counter()
    chosen = export_class(to)
    exporter = chosen(buffer)
    refuse_address(output)
    path = chosen.target(str(output))
    before = tally_of(buffer)
    target = AtomicPath(path, overwrite=overwrite)
    try:
        with _named(path):
            exporter.write(target.partial, on_progress or (lambda count: None))
            exporter.keep(target.partial, kept_document(buffer, exporter.names_read_again()))
        with _named(path, LookupError, ValueError, EOFError, BadZipFile, zlib.error):
            after = exporter.tally(target.partial)
        require_equal(exporter.expected(before), after, buffer.arrays[REWARDS].all(), str(path))
        left_out = [*exporter.left_out(), *([] if exporter.tells_all else lost_on_readers(buffer))]
        target.publish()
    finally:
        target.discard()
    return ExportReport(path, before, after, left_out, _disk_bytes(path), time.perf_counter() - started)


@contextmanager
def _named(path: Path, *others: type[Exception]) -> Iterator[None]:
    """Name the output in what libraries raise where the disk fails: HDF5's RuntimeError, and others of its readers."""
    try:
        yield
    except RlbuffersError:
        raise
    except Exception as error:
        if not isinstance(error, (RuntimeError, *others)):
            raise
        raise CorruptDataError(f"{path}: cannot be written, or read back to be compared ({error})") from error


def _disk_bytes(path: Path) -> int:
    files = [path] if path.is_file() else [found for found in path.rglob("*") if found.is_file()]
    return sum(file.stat().st_size for file in files)
