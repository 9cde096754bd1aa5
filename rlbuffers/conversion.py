"""The whole pipeline on one screen: source -> decode and encode -> writer -> store."""

from __future__ import annotations

import dataclasses
import itertools
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rlbuffers.episode import Episode, Transitions
from rlbuffers.episode_block import EpisodeBlock
from rlbuffers.errors import CorruptDataError, FormatError, RlbuffersError, SpecError
from rlbuffers.metadata import written_by
from rlbuffers.reader import Buffer
from rlbuffers.schema import FRAMES, REWARDS
from rlbuffers.sources.base import Decoder, IdentityDecoder, Rows, Source
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally, require_equal
from rlbuffers.writer import BufferWriter
from rlbuffers.writing.chunk_encoder import ChunkEncoder
from rlbuffers.writing.storage_options import StorageOptions

__all__ = ["ConversionReport", "Progress", "convert", "tally_of"]

Piece = TypeVar("Piece")
Progress = Callable[[int, int | None, int], None]
# Pieces under way for each worker: one in work, one waiting.
_PIECES_PER_WORKER = 2
# Finished pieces wait for the slowest one before them; they are compressed, so these are megabytes.
_MAX_PIECES_UNDER_WAY = 64


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
    """
    started = time.perf_counter()
    writer = BufferWriter(path, source.spec, facts, overwrite=overwrite, storage=storage)
    writer.early_metadata = source.early_metadata()
    try:
        encoder = writer.encoder_of(FRAMES) if source.spec.stack else None
        work = _Work(source.decoder, encoder)
        useful_workers, most_under_way = _help_for(source, workers)
        for rows in _worked(work, source.pieces(), useful_workers, most_under_way):
            source.observe(rows)
            _append(writer, rows, source.where)
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
            warnings=[*buffer.metadata.get("warnings", []), *_told_of_interrupted(writer)],
            left_out=list(buffer.metadata.get("left_out", [])),
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


def tally_of(buffer: Buffer) -> Tally:
    """Count what a buffer holds, from its columns."""
    episodes = buffer.num_episodes if buffer.spec.layout == "episodes" else None
    rewards = buffer.arrays[REWARDS].all()
    return Tally(episodes, len(rewards), total_reward(rewards))


@dataclass(frozen=True)
class _Work:
    """What is done with each piece, here or in another process."""

    decode: Decoder[Any]
    encoder: ChunkEncoder | None

    def __call__(self, piece: Any) -> Rows:
        rows = self.decode(piece)
        if self.encoder is None or not isinstance(rows, Transitions) or not isinstance(rows.windows, np.ndarray):
            return rows
        frames = rows.windows.reshape(-1, *rows.windows.shape[2:])
        if len(frames) % self.encoder.unit_rows:
            return rows  # the writer has to put these together with others
        return dataclasses.replace(rows, windows=self.encoder.encode(frames))


def _help_for(source: Source[Any], workers: int) -> tuple[int, int]:
    """Tell how many processes are worth having, and how many pieces may be under way.

    Handing finished rows, or decoded frames that the writer has yet to encode, to another process
    costs more than the work itself. Whole episodes are large, so only a few may wait.
    """
    episodes = source.spec.layout == "episodes"
    if isinstance(source.decoder, IdentityDecoder) or (episodes and source.spec.stack):
        return 0, 0
    return workers, _PIECES_PER_WORKER * workers if episodes else _MAX_PIECES_UNDER_WAY


def _worked(work: _Work, pieces: Iterator[Piece], workers: int, most_under_way: int) -> Iterator[Rows]:
    """Apply `work` to every piece, in order, in other processes and in this one.

    This process works too whenever the others have enough to do, which is also what keeps it busy
    while they start.
    """
    first = next(pieces, None)
    if first is not None:
        yield work(first)  # a small source is done before a process would have started
    second = next(pieces, None) if workers else None
    if second is None:
        yield from map(work, pieces)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin_worker)
    under_way: deque[Future[Rows]] = deque()
    try:
        for piece in itertools.chain([second], pieces):
            waiting = sum(not future.done() for future in under_way)
            if waiting < workers * _PIECES_PER_WORKER:
                under_way.append(pool.submit(work, piece))
            else:
                under_way.append(_finished(work(piece)))
            while under_way and (under_way[0].done() or len(under_way) > most_under_way):
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    except BrokenProcessPool as error:
        raise RlbuffersError(
            "a worker process died (out of memory, or killed); try again with fewer --workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _finished(rows: Rows) -> Future[Rows]:
    future: Future[Rows] = Future()
    future.set_result(rows)
    return future


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
