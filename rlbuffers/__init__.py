"""Offline-RL replay buffers on disk: small, checksummed, fast to sample from.

::

    import rlbuffers

    rlbuffers.convert(source, "breakout.hdf5")
    with rlbuffers.open("breakout.hdf5") as buffer:
        batch = buffer.sampler(batch_size=32, seed=0).sample()

Importing this package loads nothing heavy; each name below is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlbuffers.conversion import convert
    from rlbuffers.episode import Episode, Transitions
    from rlbuffers.reader import Buffer
    from rlbuffers.reader import open_buffer as open
    from rlbuffers.schema import BufferSpec, ColumnSpec
    from rlbuffers.validation import validate
    from rlbuffers.writer import BufferWriter, create

__version__ = "0.1.0"

__all__ = [
    "Buffer",
    "BufferSpec",
    "BufferWriter",
    "ColumnSpec",
    "Episode",
    "Transitions",
    "__version__",
    "convert",
    "create",
    "open",
    "validate",
]

_HOMES = {
    "Buffer": ("rlbuffers.reader", "Buffer"),
    "BufferSpec": ("rlbuffers.schema", "BufferSpec"),
    "BufferWriter": ("rlbuffers.writer", "BufferWriter"),
    "ColumnSpec": ("rlbuffers.schema", "ColumnSpec"),
    "Episode": ("rlbuffers.episode", "Episode"),
    "Transitions": ("rlbuffers.episode", "Transitions"),
    "convert": ("rlbuffers.conversion", "convert"),
    "create": ("rlbuffers.writer", "create"),
    "open": ("rlbuffers.reader", "open_buffer"),
    "validate": ("rlbuffers.validation", "validate"),
}


def __getattr__(name: str) -> Any:
    try:
        module, attribute = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'rlbuffers' has no attribute {name!r}") from None
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
