"""The same work in several threads at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def at_once(work: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
    """Call `work` with each argument in a thread of its own, none before all are there; return what they return."""
    barrier = threading.Barrier(len(arguments))

    def begun(argument: Any) -> Any:
        barrier.wait()
        return work(argument)

    with ThreadPoolExecutor(len(arguments)) as pool:
        return list(pool.map(begun, arguments))
