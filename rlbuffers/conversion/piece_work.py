"""Pieces of a source turned into rows, in this process and in others, in the order of the source."""

from __future__ import annotations

import dataclasses
import itertools
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from typing import Any, TypeVar

import numpy as np

from rlbuffers.episode import Transitions
from rlbuffers.errors import RlbuffersError
from rlbuffers.sources.base import Decoder, IdentityDecoder, Rows, Source
from rlbuffers.writing.chunk_encoder import ChunkEncoder

__all__ = ["worked_pieces"]

Piece = TypeVar("Piece")
# Pieces under way for each worker: one in work, one waiting.
_PIECES_PER_WORKER = 2
# Finished pieces wait for the slowest one before them; they are compressed, so these are megabytes.
_MAX_PIECES_UNDER_WAY = 64


def worked_pieces(source: Source[Any], encoder: ChunkEncoder | None, workers: int) -> Iterator[Rows]:
    """Yield the rows of every piece of a source, in order.

    Parameters
    ----------
    source : Source
        Its pieces are used up.
    encoder : ChunkEncoder, optional
        Encodes the frames of independent transitions where the piece is decoded.
    workers : int
        Processes beside this one, as far as they are worth having for such a source.

    Raises
    ------
    RlbuffersError
        If one of these processes dies.
    """
    useful_workers, most_under_way = _help_for(source, workers)
    return _worked(_Work(source.decoder, encoder), source.pieces(), useful_workers, most_under_way)


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
