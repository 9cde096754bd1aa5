"""Ctrl-C as a request that a training loop obeys between two updates."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["InterruptGuard", "TrainingInterrupted"]


class TrainingInterrupted(KeyboardInterrupt):
    """Training stopped on request; its state is saved and the message says how to resume."""


class InterruptGuard:
    """Within this context the first Ctrl-C only sets `is_requested`; the second one acts as usual.

    An update that is broken off half-way would leave weights that no checkpoint can continue bit for
    bit. Outside of the main thread, where Python delivers no signals, nothing is changed.
    """

    def __init__(self) -> None:
        self.is_requested = False
        self._previous: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._request)
        return self

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.is_requested = True
        signal.signal(signal.SIGINT, self._previous)

    def check(self) -> None:
        """Raise `TrainingInterrupted` if Ctrl-C was pressed."""
        if self.is_requested:
            raise TrainingInterrupted

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
