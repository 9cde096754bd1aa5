"""Ctrl-C, and a scheduler's SIGTERM, as a request that a training loop obeys between two updates."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["InterruptGuard", "TrainingInterrupted"]


class TrainingInterrupted(KeyboardInterrupt):
    """Training stopped on request; its state is saved and the message says how to resume."""


class InterruptGuard:
    """Within this context the first Ctrl-C or SIGTERM only sets `is_requested`; the second one acts as usual.

    An update that is broken off half-way would leave weights that no checkpoint can continue bit for
    bit. SIGTERM is how schedulers of clusters announce that they will kill a job; whoever ignores it goes on doing so.
    Outside of the main thread, where Python delivers no signals, nothing is changed.
    """

    def __init__(self) -> None:
        self.is_requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous[signal.SIGINT] = signal.signal(signal.SIGINT, self._request)
            if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
                self._previous[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._request)
        return self

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.is_requested = True
        self._act_as_usual()

    def _act_as_usual(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise `TrainingInterrupted` if that was requested."""
        if self.is_requested:
            raise TrainingInterrupted

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._act_as_usual()
