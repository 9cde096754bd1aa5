"""Offline-RL replay buffers on disk: small, checksummed, fast to sample from.

::

    import rlbuffers
    from rlbuffers.sources import TianshouSource

    rlbuffers.convert(TianshouSource("runs.hdf5"), "runs.zarr")
    with rlbuffers.open("runs.zarr") as buffer:
        batch = buffer.sampler(batch_size=32, seed=0).sample()
        rlbuffers.export(buffer, "runs.h5", "d3rlpy")

Importing this package loads nothing heavy; each name below is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlbuffers.lazy import lazy_names

if TYPE_CHECKING:
    from rlbuffers.conversion import convert
    from rlbuffers.episode import Episode, Transitions
    from rlbuffers.exporting import export
    from rlbuffers.online.ring import RingBuffer
    from rlbuffers.reader import Buffer
    from rlbuffers.reader import open_buffer as open
    from rlbuffers.samplers import mix_buffers
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
    "RingBuffer",
    "Transitions",
    "__version__",
    "convert",
    "create",
    "export",
    "mix_buffers",
    "open",
    "validate",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Buffer": "rlbuffers.reader:Buffer",
        "BufferSpec": "rlbuffers.schema:BufferSpec",
        "BufferWriter": "rlbuffers.writer:BufferWriter",
        "ColumnSpec": "rlbuffers.schema:ColumnSpec",
        "Episode": "rlbuffers.episode:Episode",
        "RingBuffer": "rlbuffers.online.ring:RingBuffer",
        "Transitions": "rlbuffers.episode:Transitions",
        "convert": "rlbuffers.conversion:convert",
        "create": "rlbuffers.writer:create",
        "export": "rlbuffers.exporting:export",
        "mix_buffers": "rlbuffers.samplers.mixture:mix_buffers",
        "open": "rlbuffers.reader:open_buffer",
        "validate": "rlbuffers.validation:validate",
    },
)


def __dir__() -> list[str]:
    return sorted(__all__)
