"""The whole pipeline on one screen: source -> decode and encode -> writer -> store."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.conversion.piece_work import worked_pieces
from rlbuffers.episode import Episode
from rlbuffers.episode_block import EpisodeBlock
from rlbuffers.errors import CorruptDataError, FormatError, SpecError
from rlbuffers.metadata import written_by
from rlbuffers.reader import Buffer
from rlbuffers.remarks import content_notes
from rlbuffers.schema import FRAMES, REWARDS
from rlbuffers.sources.base import Rows, Source
from rlbuffers.tally import Tally, require_equal, tally_of
from rlbuffers.writer import BufferWriter
from rlbuffers.writing.storage_options import StorageOptions

__all__ = ["ConversionReport", "Progress", "convert"]

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
    source: Source[Any],
    path: str | Path,
    *,
    overwrite: bool = False,
    workers: int = 0,
    on_progress: Progress | None = None,
    facts: Mapping[str, Any] | None = None,
    storage: StorageOptions | None = None,
    expected_fingerprint: str | None = None,
    keep_interrupted: bool = False,
) -> ConversionReport:
    """Write everything that a source yields into a new buffer.

    Memory is bounded by a few pieces of the source, whatever its size. A conversion that is stopped
    at any moment leaves nothing under `path`; the next one starts afresh. Of one that was killed,
    `rlbuffers.repair` salvages what was written half a minute before, at the latest.

    Parameters
    ----------
    source : Source
        Where the rows come from; used up by this call.
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
    keep_interrupted : bool, default False
        Whether a conversion that fails or is stopped keeps what it has for `rlbuffers.repair`, as
        one that is killed does. For sources that cannot simply be read again.

    Raises
    ------
    BufferExistsError, BufferBusyError
        If the path is taken or being written.
    FormatError, CorruptDataError
        If the source is not what its format says, or what was written differs from what was read;
        nothing is left at `path`.

    Examples
    --------
    >>> import rlbuffers
    >>> from rlbuffers.sources import D4RLSource
    >>> report = rlbuffers.convert(D4RLSource("runs.h5"), "converted.zarr")
    >>> report.written.transitions, report.written.episodes
    (100, 4)
    """
    started = time.perf_counter()
    writer = BufferWriter(path, source.spec, facts, overwrite=overwrite, storage=storage)
    writer.early_metadata = source.early_metadata()
    try:
        encoder = writer.encoder_of(FRAMES) if source.spec.stack else None
        for rows in worked_pieces(source, encoder, workers):
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
        writer.commit(check=lambda written: _check(before, written, source.where, Path(path), expected_fingerprint))
    except BaseException:
        writer.abort(keep=keep_interrupted)
        raise
    seconds = time.perf_counter() - started
    with Buffer(path) as buffer:
        return ConversionReport(
            path=Path(path),
            read=before,
            written=tally_of(buffer),
            whole_episodes=int(buffer.metadata["counts"].get("whole_episodes", 0)),
            source_bytes=sum(int(file.get("bytes", 0)) for file in buffer.metadata.get("source", {}).get("files", [])),
            buffer_bytes=buffer.store_disk_bytes,
            fingerprint=buffer.fingerprint,
            seconds=seconds,
            statistics=dict(buffer.metadata["statistics"]),
            measurements=dict(buffer.metadata.get("measurements", {})),
            warnings=[*buffer.warnings, *_told_of_interrupted(writer)],
            left_out=list(buffer.metadata.get("left_out", [])),
            notes=content_notes(buffer.metadata),
        )


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


def _check(before: Tally, written: Path, where: str, path: Path, fingerprint: str | None) -> None:
    """Read the rewards back from a buffer that has no name yet: what went in must come out."""
    with Buffer(written) as buffer:
        if fingerprint is not None and buffer.fingerprint != fingerprint:
            raise CorruptDataError(f"{where}: the content has not the stored fingerprint; run rlbuffers validate")
        require_equal(before, tally_of(buffer), buffer.arrays[REWARDS].all(), str(path))
