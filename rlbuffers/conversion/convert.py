"""The whole pipeline on one screen: source -> decode and encode -> writer -> store."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.conversion.piece_work import worked_pieces
from rlbuffers.episode import Episode
from rlbuffers.episode_block import EpisodeBlock
from rlbuffers.errors import BufferExistsError, CorruptDataError, FormatError, SpecError, UsageError
from rlbuffers.listing import listed
from rlbuffers.metadata import written_by
from rlbuffers.paths import refuse_address
from rlbuffers.published import named_source
from rlbuffers.reader import Buffer
from rlbuffers.remarks import content_notes
from rlbuffers.schema import FRAMES, REWARDS
from rlbuffers.sources.base import Rows, Source
from rlbuffers.sources.files import require_sha256
from rlbuffers.tally import Tally, require_equal, tally_of
from rlbuffers.writer import BufferWriter
from rlbuffers.writing.storage_options import StorageOptions

__all__ = ["ConversionReport", "Progress", "convert"]

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
Progress = Callable[[int, int | None, int], None]


@dataclass(frozen=True)
class ConversionReport:
    """What a conversion made.

    Parameters
    ----------
    path : Path
        The finished buffer.
    read, written : Tally
        Episodes, transitions and summed rewards as counted on the source and on the buffer; they
        are equal, or there would be an error instead of a report.
    whole_episodes : int
        Episodes that were recorded to their end; 0 in the ``transitions`` layout.
    source_bytes, buffer_bytes : int
        Sizes on disk; 0 source bytes where there is no file.
    fingerprint : str
        Content hash of the buffer.
    seconds : float
        Wall time.
    statistics : dict
        Statistics of the columns, episode lengths and returns, as in the metadata.
    measurements : dict
        What the source measured about itself.
    warnings, left_out : sequence of str
        What a user must know, and what is not in the buffer.
    notes : sequence of str
        What is special about the content; the source's own notes are in the metadata.
    """

    path: Path
    read: Tally
    written: Tally
    whole_episodes: int
    source_bytes: int
    buffer_bytes: int
    fingerprint: str
    seconds: float
    statistics: dict[str, Any]
    measurements: dict[str, Any]
    warnings: Sequence[str]
    left_out: Sequence[str]
    notes: Sequence[str]

    @property
    def transitions(self) -> int:
        """Number of rows in the buffer."""
        return self.written.transitions


def convert(
    source: Source[Any] | str,
    path: str | Path,
    *,
    overwrite: bool = False,
    workers: int = 0,
    on_progress: Progress | None = None,
    facts: Mapping[str, Any] | None = None,
    storage: StorageOptions | None = None,
    expected_fingerprint: str | None = None,
    sha256: str | Sequence[str] | None = None,
    keep_interrupted: bool = False,
    into: Path | None = None,
) -> ConversionReport:
    """Write everything that a source yields into a new buffer.

    Memory is bounded by a few pieces of the source, whatever its size. A conversion that is stopped
    at any moment leaves nothing under `path`; the next one starts afresh. Of one that was killed,
    `rlbuffers.repair` salvages what was written half a minute before, at the latest.

    Parameters
    ----------
    source : Source or str
        Where the rows come from; used up by this call. A text is the name of a published dataset, such as
        ``"d4rl:halfcheetah-medium-v2"`` (see `rlbuffers.datasets`), which is downloaded unless it is there.
    path : str or Path
        Name ending in ``.hdf5`` or ``.zarr``, or ``memory:NAME``.
    overwrite : bool, default False
        Whether an existing buffer is replaced once the new one is whole.
    workers : int, default 0
        Processes that decode and encode beside this one. They are spawned, so a script that
        asks for them must guard its main part with ``if __name__ == "__main__":``.
    on_progress : callable, optional
        Is given (units done, units in all or None, transitions so far) after each piece.
    facts : mapping, optional
        Metadata beside, or in place of, those of the source.
    storage : StorageOptions, optional
        Chunks and compression other than the defaults.
    expected_fingerprint : str, optional
        Of the content, where it is known: another one makes no buffer.
    sha256 : str or sequence of str, optional
        SHA-256 (hexadecimal) of the source's files in order, compared before anything is written. For formats
        without checksums of their own (docs/formats.md).
    keep_interrupted : bool, default False
        Whether a conversion that fails or is stopped keeps what it has for `rlbuffers.repair`, as
        one that is killed does. For sources that cannot simply be read again.
    into : Path, optional
        Where to write in place of `path`, for a caller who gives what is there its name, or removes it.

    Raises
    ------
    BufferExistsError, BufferBusyError
        If the path is taken or being written.
    FormatError, CorruptDataError
        If the source is not what its format says, a file does not have its `sha256`, or what was written differs
        from what was read; nothing is left at `path`.
    UsageError
        If `sha256` is not 64 hexadecimal digits for each file, or the source is not made of files.

    Examples
    --------
    >>> import rlbuffers
    >>> from rlbuffers.sources import D4RLSource
    >>> report = rlbuffers.convert(D4RLSource("runs.h5"), "converted.zarr")
    >>> report.written.transitions, report.written.episodes
    (100, 4)
    >>> rlbuffers.convert("d4rl:hopper-medium-v2", "hopper.hdf5")  # doctest: +SKIP
    """
    started = time.perf_counter()
    if isinstance(source, str):
        refuse_address(path)
        if Path(path).exists() and not overwrite:  # before anything is downloaded
            raise BufferExistsError(f"{path}: exists already; pass overwrite=True to replace it")
        source = named_source(source)
    if sha256 is not None:
        _require_hashes(source, [sha256] if isinstance(sha256, str) else sha256)
    writer = BufferWriter(path, source.spec, facts, overwrite=overwrite, storage=storage, into=into)
    reports: list[ConversionReport] = []
    try:
        writer.early_metadata = source.early_metadata()
        encoder = writer.encoder_of(FRAMES) if source.spec.stack else None
        for rows in _named(worked_pieces(source, encoder, workers), source.where):
            source.observe(rows)
            _append(writer, source.finished(rows), source.where)
            if on_progress is not None:
                on_progress(source.done, source.total, writer.num_transitions)
        if writer.num_transitions == 0:
            raise FormatError(f"{source.where}: expected transitions, found none; no buffer was written")
        for name, entries in source.extras().items():
            writer.append_extra(name, entries)
        writer.metadata = {**source.metadata(), **writer.metadata}
        writer.metadata["written_by"] = written_by()
        before = source.tally()

        def check(written: Path) -> None:
            reports.append(_checked(before, written, source.where, writer.path, expected_fingerprint))

        writer.commit(check)
    except BaseException:
        writer.abort(keep=keep_interrupted)
        raise
    (report,) = reports
    warnings = [*report.warnings, *_told_of_interrupted(writer)]
    return replace(report, seconds=time.perf_counter() - started, warnings=warnings)


def _checked(before: Tally, written: Path, where: str, path: Path, fingerprint: str | None) -> ConversionReport:
    """Read a buffer back that has no name yet: what went in must come out. Return what is reported of it."""
    try:
        with Buffer(written) as buffer:
            report = _report(buffer, before, path)
            rewards = buffer.arrays[REWARDS].all()
    except (OSError, CorruptDataError) as error:
        raise CorruptDataError(f"{path}: cannot be read back to be compared ({error})") from error
    if fingerprint is not None and report.fingerprint != fingerprint:
        raise CorruptDataError(f"{where}: the content does not match the stored fingerprint; run rlbuffers validate")
    require_equal(before, report.written, rewards, str(path))
    return report


def _report(buffer: Buffer, before: Tally, path: Path) -> ConversionReport:
    return ConversionReport(
        path=path,
        read=before,
        written=tally_of(buffer),
        whole_episodes=int(buffer.metadata["counts"].get("whole_episodes", 0)),
        source_bytes=sum(int(file.get("bytes", 0)) for file in buffer.metadata.get("source", {}).get("files", [])),
        buffer_bytes=buffer.store_disk_bytes,
        fingerprint=buffer.fingerprint,
        seconds=0.0,
        statistics=dict(buffer.metadata["statistics"]),
        measurements=dict(buffer.metadata.get("measurements", {})),
        warnings=buffer.warnings,
        left_out=list(buffer.metadata.get("left_out", [])),
        notes=content_notes(buffer.metadata),
    )


def _require_hashes(source: Source[Any], hashes: Sequence[str]) -> None:
    """Compare the files of a source with their SHA-256."""
    for text in hashes:
        if not _SHA256.fullmatch(text):
            raise UsageError(f"SHA-256 {text:.80}: expected 64 hexadecimal digits, as sha256sum prints them")
    files = source.files
    if not files:
        raise UsageError(f"{source.where}: a SHA-256 is compared with files, and this source is not a file")
    if len(files) != len(hashes):
        raise UsageError(
            f"expected one SHA-256 for each file, in this order: {listed(path.name for path in files)} "
            f"({len(files):,}); got {len(hashes):,}"
        )
    for path, expected in zip(files, hashes, strict=True):
        require_sha256(path, expected)


def _named(pieces: Iterator[Rows], where: str) -> Iterator[Rows]:
    """Name the source in errors of the system that name no file: later ones are named after the output."""
    try:
        yield from pieces
    except OSError as error:
        if error.errno and error.filename is None:
            error.filename = where
        raise


def _told_of_interrupted(writer: BufferWriter) -> list[str]:
    """Say that what another command left at the path can still be salvaged."""
    found = writer.interrupted
    return [] if found is None else [f"{found}: left by another, interrupted command; rlbuffers repair salvages it"]


def _append(writer: BufferWriter, rows: Rows, where: str) -> None:
    """Write rows, and blame what is wrong with them on the source."""
    finite = np.isfinite(rows.columns[REWARDS])
    if not finite.all():
        row = writer.num_transitions + int(finite.argmin())
        raise FormatError(
            f"{where}: expected finite rewards, found {rows.columns[REWARDS][finite.argmin()]} in row {row:,}"
        )
    try:
        if isinstance(rows, Episode):
            writer.append_episode(rows)
        elif isinstance(rows, EpisodeBlock):
            writer.append_episodes(rows)
        else:
            writer.append_transitions(rows)
    except SpecError as error:
        raise FormatError(f"{where}: {error}") from error
