"""Several seeds at the same time, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Protocol

import torch

from rlbuffers.errors import RlbuffersError, UsageError
from rlbuffers_train.epoch_record import EpochRecord
from rlbuffers_train.running.interrupts import InterruptGuard, TrainingInterrupted
from rlbuffers_train.running.reporting import Progress
from rlbuffers_train.running.several_seeds import SeedOutcome, SeedsSummary, Train, finish_seeds, interrupted
from rlbuffers_train.running.training_request import TrainingRequest

__all__ = ["SeedsListener", "train_seeds_in_parallel"]

_SECONDS_BETWEEN_MESSAGES = 0.5
_SECONDS_OF_A_LOOK = 0.2


class SeedsListener(Protocol):
    """Shows what several runs do."""

    def progress(self, seed: int, progress: Progress) -> None:
        """Take note of where a run is."""

    def epoch_done(self, seed: int, record: EpochRecord) -> None:
        """Show a finished epoch."""

    def note(self, seed: int, message: str) -> None:
        """Show one line."""

    def ended(self, outcome: SeedOutcome) -> None:
        """Show what became of a run."""


def train_seeds_in_parallel(
    train: Train,
    requests: Mapping[int, TrainingRequest],
    logdir: Path,
    num_processes: int,
    listener: SeedsListener,
) -> SeedsSummary:
    """Train seeds in up to `num_processes` processes; see `rlbuffers_train.running.several_seeds.train_seeds`.

    Ctrl-C is passed on to every run, which saves its state and ends. The processes divide torch's threads: two
    trainings with a thread for each core wait for one another at every layer. Rounding differs with the number of
    threads, so bits of networks for images equal those of another run with as many processes.
    """
    crew = _Crew(train, requests, num_processes)
    with InterruptGuard() as guard:
        try:
            while crew.is_at_work(may_begin=not guard.is_requested):
                if guard.is_requested:
                    crew.interrupt()
                crew.listen(listener)
        finally:
            crew.kill()
        if guard.is_requested:
            raise interrupted([seed for seed, outcome in crew.outcomes.items() if outcome.summary], requests, logdir)
    return finish_seeds(logdir, [crew.outcomes[seed] for seed in requests])


class _Crew:
    """The processes, and what they say."""

    def __init__(self, train: Train, requests: Mapping[int, TrainingRequest], num_processes: int) -> None:
        self.outcomes: dict[int, SeedOutcome] = {}
        self._train = train
        self._waiting = dict(requests)
        self._num_processes = num_processes
        self._context = multiprocessing.get_context("spawn")
        self._messages: multiprocessing.Queue[Any] = self._context.Queue()
        self._running: dict[int, SpawnProcess] = {}
        self._is_interrupted = False

    def is_at_work(self, *, may_begin: bool) -> bool:
        """Begin what there is room for; return whether anything runs."""
        while may_begin and self._waiting and len(self._running) < self._num_processes:
            seed = next(iter(self._waiting))
            threads = max(1, torch.get_num_threads() // self._num_processes)
            arguments = (self._train, self._waiting.pop(seed), seed, threads, self._messages)
            process = self._context.Process(target=_run, args=arguments, daemon=True, name=f"seed {seed}")
            with _sigint_blocked():  # for the process that begins, until it can answer
                process.start()
            self._running[seed] = process
        return bool(self._running)

    def listen(self, listener: SeedsListener) -> None:
        """Pass on what has been said since, and notice who has ended.

        Raises
        ------
        UsageError
            If a run cannot be obeyed; the others could not either.
        """
        gone = [seed for seed, process in self._running.items() if not process.is_alive()]
        try:
            self._take(self._messages.get(timeout=_SECONDS_OF_A_LOOK), listener)
            while True:
                self._take(self._messages.get_nowait(), listener)
        except queue.Empty:
            pass
        for seed in gone:  # everything that they said has been heard
            process = self._running.pop(seed)
            if seed not in self.outcomes:
                self._end(SeedOutcome(seed, None, f"its process ended with exit code {process.exitcode}"), listener)

    def _take(self, message: Sequence[Any], listener: SeedsListener) -> None:
        kind, seed, content = message
        if kind == "refused":
            raise UsageError(content)
        if kind == "ended":
            self._end(content, listener)
        else:
            getattr(listener, kind)(seed, content)

    def _end(self, outcome: SeedOutcome, listener: SeedsListener) -> None:
        self.outcomes[outcome.seed] = outcome
        listener.ended(outcome)

    def interrupt(self) -> None:
        """Ask every run once to save its state and end."""
        if not self._is_interrupted:
            self._is_interrupted = True
            for process in self._running.values():
                if process.pid is not None and process.is_alive():
                    os.kill(process.pid, signal.SIGINT)

    def kill(self) -> None:
        """End whatever still runs."""
        for process in self._running.values():
            process.kill()
            process.join()


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Let Ctrl-C wait; processes inherit that."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run(train: Train, request: TrainingRequest, seed: int, threads: int, messages: multiprocessing.Queue[Any]) -> None:
    """Train in a process of its own and tell the parent."""
    # Ctrl-C and a scheduler's SIGTERM are for the parent, which passes them on once: a second one would not wait.
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(threads)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # one that came while modules were loaded acts now
        messages.put(("ended", seed, SeedOutcome(seed, train(request, _Messenger(seed, messages)))))
    except KeyboardInterrupt as interruption:
        saved = "saved" if isinstance(interruption, TrainingInterrupted) else "stopped before anything was trained"
        messages.put(("ended", seed, SeedOutcome(seed, None, saved)))
    except UsageError as error:
        messages.put(("refused", seed, str(error)))
    except RlbuffersError as error:
        messages.put(("ended", seed, SeedOutcome(seed, None, str(error))))


class _Messenger:
    """A reporter that speaks to the parent, and ends the run where there is no parent any more."""

    def __init__(self, seed: int, messages: multiprocessing.Queue[Any]) -> None:
        self._seed = seed
        self._messages = messages
        self._sent_at = 0.0
        self._latest: Progress | None = None

    def progress(self, progress: Progress) -> None:
        """Tell where the run is, twice a second at most."""
        self._latest = progress
        if time.monotonic() - self._sent_at < _SECONDS_BETWEEN_MESSAGES:
            return
        self._sent_at = time.monotonic()
        self._messages.put(("progress", self._seed, progress))
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            self._messages.cancel_join_thread()
            signal.raise_signal(signal.SIGINT)

    def epoch_done(self, record: EpochRecord) -> None:
        """Tell of a finished epoch, and of where its time went."""
        if self._latest is not None:
            self._messages.put(("progress", self._seed, self._latest))
        self._messages.put(("epoch_done", self._seed, record))

    def note(self, message: str) -> None:
        """Tell one line."""
        self._messages.put(("note", self._seed, message))
