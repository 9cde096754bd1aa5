"""A loader: threads read the batches that a sampler draws, ahead of the one who trains.

What is drawn is decided here, in the consumer's thread and in order; what is drawn is then read by
whichever thread is free, and handed out in order again. So batches are the same with any number of
workers, and a saved state holds what was *delivered*: batches that were read ahead are drawn again.
"""

from __future__ import annotations

import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Generic, ParamSpec, Protocol, Self, TypeVar

from rlbuffers.errors import RlbuffersError, UsageError
from rlbuffers.loading.stream import BatchStream
from rlbuffers.samplers.draws import Drawn
from rlbuffers.stores.native import decode_alone
from rlbuffers.windows.base import Batch

__all__ = ["BatchConverter", "Loader", "NumpyBatches"]

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")


class BatchConverter(Protocol[T]):
    """Turns what was read into what is handed out."""

    def prepare(self, batch: Batch) -> T:
        """Do the work; called in the thread that read the batch."""

    def hand_over(self, prepared: T) -> T:
        """Do what must happen in the consumer's thread."""


class NumpyBatches:
    """Batches stay dicts of NumPy arrays."""

    def prepare(self, batch: Batch) -> Batch:
        """Return the batch."""
        return batch

    def hand_over(self, prepared: Batch) -> Batch:
        """Return the batch."""
        return prepared


@dataclass
class _Failed:
    error: RlbuffersError


@dataclass
class _Group(Generic[T]):
    """Batches that are read by one call."""

    drawn: list[Drawn] = field(default_factory=list)
    future: Future[list[T | _Failed]] | None = None


@dataclass
class _Pending(Generic[T]):
    """A batch that was drawn: the one at `index` of a group."""

    group: _Group[T]
    index: int

    @property
    def drawn(self) -> Drawn:
        return self.group.drawn[self.index]


def _read(sampler: BatchStream, converter: BatchConverter[T], drawn: Sequence[Drawn]) -> list[T | _Failed]:
    try:
        return [converter.prepare(batch) for batch in sampler.read_together(drawn)]
    except RlbuffersError:
        outcomes: list[T | _Failed] = []
        for one in drawn:  # the others shall not fail with one of them
            try:
                outcomes.append(converter.prepare(sampler.read(one)))
            except RlbuffersError as error:
                outcomes.append(_Failed(error))
        return outcomes


class _AtOnce(Executor):
    """Does what is submitted before it returns; an error, or Ctrl-C, reaches the caller at once."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        future: Future[R] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


_AT_ONCE = _AtOnce()


class Loader(Generic[T]):
    """Hands out a sampler's batches, read ahead. An iterator without end, and a context manager.

    Threads, not processes: decoding runs outside Python's lock, and a thread hands over a batch without
    copying it. Nothing is started before the first batch is asked for. After a fork, the child reads ahead
    with threads of its own.

    Parameters
    ----------
    sampler : BatchStream
        Draws and reads; to be used through the loader only, from here on.
    converter : BatchConverter
        What is handed out.
    prefetch : int
        Number of batches drawn ahead, at least 1; each takes its memory. With many of them, a thread reads
        several in one call, which costs less. Without threads, so many are drawn and read by one call whenever
        none is left: 1 draws and reads each when it is asked for.
    workers : int
        Number of threads; 0 reads in the consumer's thread.

    Attributes
    ----------
    wait_seconds : float
        How long the consumer waited for batches, all together.
    num_delivered : int
        How many batches were handed out.

    Raises
    ------
    UsageError
        If a number is out of range, or the sampler's data change while it draws.
    """

    def __init__(self, sampler: BatchStream, converter: BatchConverter[T], *, prefetch: int, workers: int) -> None:
        if prefetch < 1 or workers < 0:
            raise UsageError(f"prefetch must be at least 1 and workers not negative, got {prefetch} and {workers}")
        if not sampler.is_fixed:
            raise UsageError("a ring changes while it is drawn from, so nothing can be read ahead; use its sampler")
        self._sampler = sampler
        self._converter = converter
        self._prefetch = prefetch
        self._workers = workers
        # While one group is handed out, each thread reads another one.
        self._group_size = max(prefetch // (workers + 1), 1)
        self._pending: deque[_Pending[T]] = deque()
        self._executor: ThreadPoolExecutor | None = None
        self._shut_down: weakref.finalize[[], Loader[T]] | None = None
        self._process = 0
        self._is_closed = False
        self.wait_seconds = 0.0
        self.num_delivered = 0

    @property
    def sampler(self) -> BatchStream:
        """The sampler, for `update_priorities` and the like; do not draw from it."""
        return self._sampler

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        """Return the next batch.

        Raises
        ------
        UsageError
            If the loader is closed.
        CorruptDataError
            If a chunk that the batch needs is damaged; the next call goes on with the next batch.
        """
        return self._next()[0]

    def epoch(self) -> Iterator[T]:
        """Yield the batches that are left of this epoch.

        Raises
        ------
        UsageError
            If there are no epochs, as with replacement.
        """
        self._sampler.require_epochs()
        while True:
            batch, drawn = self._next()
            yield batch
            if drawn.ends_epoch:
                return

    def _next(self) -> tuple[T, Drawn]:
        if self._is_closed:
            raise UsageError("the loader is closed")
        started = time.perf_counter()
        try:
            drawn, prepared = self._take_oldest()
        finally:
            self.wait_seconds += time.perf_counter() - started
        self.num_delivered += 1
        self._sampler.deliver(drawn)
        return self._converter.hand_over(prepared), drawn

    def _take_oldest(self) -> tuple[Drawn, T]:
        executor = self._running_executor()
        self._draw_ahead(executor)
        oldest = self._pending[0]
        try:
            future = oldest.group.future or self._submit(executor, oldest.group)
            prepared = future.result()[oldest.index]
        except Exception:
            self._pending.popleft()
            raise
        self._pending.popleft()  # not before: Ctrl-C while waiting loses no batch
        if isinstance(prepared, _Failed):
            raise prepared.error
        return oldest.drawn, prepared

    def _draw_ahead(self, executor: Executor) -> None:
        if self._workers:
            # At every call as many batches have been drawn beyond those delivered: what `update_priorities` changes
            # shows after the same number of batches, however fast anything runs.
            while len(self._pending) <= self._prefetch:
                self._draw_into_group(executor)
        elif not self._pending:
            # Up to a multiple of so many batches of the stream: where one goes on with it makes no difference.
            for _ in range(self._prefetch - self._sampler.num_batches % self._prefetch):
                self._draw_into_group(executor)

    def _draw_into_group(self, executor: Executor) -> None:
        group = self._pending[-1].group if self._pending else None
        if group is None or group.future is not None:
            group = _Group()
        group.drawn.append(self._sampler.draw())
        self._pending.append(_Pending(group, len(group.drawn) - 1))
        if len(group.drawn) == self._group_size:
            self._submit(executor, group)

    def _submit(self, executor: Executor, group: _Group[T]) -> Future[list[T | _Failed]]:
        group.future = executor.submit(_read, self._sampler, self._converter, group.drawn)
        return group.future

    def _running_executor(self) -> Executor:
        if not self._workers:
            return _AT_ONCE
        if self._executor is not None and self._process == os.getpid():
            return self._executor
        if self._shut_down is not None:
            self._shut_down.detach()  # threads of the parent process
        executor = ThreadPoolExecutor(
            self._workers,
            thread_name_prefix="rlbuffers-loader",
            initializer=decode_alone if self._workers > 1 else None,
        )
        self._executor, self._process = executor, os.getpid()
        self._shut_down = weakref.finalize(self, partial(executor.shutdown, wait=True, cancel_futures=True))
        submitted = [pending.group for pending in self._pending if pending.group.future is not None]
        for group in {id(group): group for group in submitted}.values():
            self._submit(executor, group)
        return executor

    def state_dict(self) -> dict[str, Any]:
        """Return where the stream of delivered batches is; it suits any loader or sampler of the same kind."""
        return self._sampler.state_dict([pending.drawn for pending in self._pending])

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken, of a loader or of a sampler.

        Raises
        ------
        UsageError
            If it is the state of another kind of sampler, or of other data.
        """
        self._sampler.load_state_dict(state)
        for pending in self._pending:
            if pending.group.future is not None:
                pending.group.future.cancel()
        self._pending.clear()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process without its threads; there it goes on where it was, open."""
        return _restored, (self._sampler, self._converter, self._prefetch, self._workers, self.state_dict())

    def close(self) -> None:
        """Stop the threads and let go of what was read ahead; closing again does nothing."""
        self._is_closed = True
        if self._shut_down is not None and self._process == os.getpid():
            self._shut_down()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _restored(
    sampler: BatchStream, converter: BatchConverter[T], prefetch: int, workers: int, state: Mapping[str, Any]
) -> Loader[T]:
    loader = Loader(sampler, converter, prefetch=prefetch, workers=workers)
    loader.load_state_dict(state)
    return loader
