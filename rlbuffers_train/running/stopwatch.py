"""Where the time of a training loop goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Stopwatch"]


class Stopwatch:
    """Adds up seconds by the name of what was done."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.seconds = dict.fromkeys(names, 0.0)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Count the time within this context under `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start

    @property
    def total(self) -> float:
        """Sum over all names in seconds."""
        return sum(self.seconds.values())

    def fractions(self) -> dict[str, float]:
        """Return what share of the total each name has, as curves name it: ``time/waiting_for_data``."""
        total = self.total or 1.0
        return {f"time/{name.replace(' ', '_')}": seconds / total for name, seconds in self.seconds.items()}

    def shares(self) -> str:
        """Return text such as ``waiting for data 3%, update 90%, evaluation 7%``."""
        total = self.total or 1.0
        return ", ".join(f"{name} {seconds / total:.0%}" for name, seconds in self.seconds.items())
