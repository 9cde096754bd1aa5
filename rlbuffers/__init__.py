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
    from rlbuffers.conversion.convert import convert
    from rlbuffers.editing.diff import diff
    from rlbuffers.editing.filter import filter_buffer as filter
    from rlbuffers.editing.merge import merge
    from rlbuffers.editing.normalize import normalize
    from rlbuffers.editing.normalizer import Normalizer
    from rlbuffers.editing.repack import repack
    from rlbuffers.editing.split import split
    from rlbuffers.editing.subset import subset
    from rlbuffers.episode import Episode, Transitions
    from rlbuffers.episode_block import EpisodeBlock
    from rlbuffers.exports.export import export
    from rlbuffers.online.ring import RingBuffer
    from rlbuffers.published import datasets
    from rlbuffers.reader import Buffer
    from rlbuffers.reader import open_buffer as open
    from rlbuffers.samplers import mix_buffers
    from rlbuffers.schema import BufferSpec, ColumnSpec
    from rlbuffers.validation.validate import validate
    from rlbuffers.writer import BufferWriter, create
    from rlbuffers.writing.storage_options import StorageOptions

__version__ = "0.2.0"

__all__ = [
    "Buffer",
    "BufferSpec",
    "BufferWriter",
    "ColumnSpec",
    "Episode",
    "EpisodeBlock",
    "Normalizer",
    "RingBuffer",
    "StorageOptions",
    "Transitions",
    "__version__",
    "convert",
    "create",
    "datasets",
    "diff",
    "export",
    "filter",
    "merge",
    "mix_buffers",
    "normalize",
    "open",
    "repack",
    "split",
    "subset",
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
        "EpisodeBlock": "rlbuffers.episode_block:EpisodeBlock",
        "Normalizer": "rlbuffers.editing.normalizer:Normalizer",
        "RingBuffer": "rlbuffers.online.ring:RingBuffer",
        "StorageOptions": "rlbuffers.writing.storage_options:StorageOptions",
        "Transitions": "rlbuffers.episode:Transitions",
        "convert": "rlbuffers.conversion.convert:convert",
        "create": "rlbuffers.writer:create",
        "datasets": "rlbuffers.published:datasets",
        "diff": "rlbuffers.editing.diff:diff",
        "export": "rlbuffers.exports.export:export",
        "filter": "rlbuffers.editing.filter:filter_buffer",
        "merge": "rlbuffers.editing.merge:merge",
        "mix_buffers": "rlbuffers.samplers.mixture:mix_buffers",
        "normalize": "rlbuffers.editing.normalize:normalize",
        "open": "rlbuffers.reader:open_buffer",
        "repack": "rlbuffers.editing.repack:repack",
        "split": "rlbuffers.editing.split:split",
        "subset": "rlbuffers.editing.subset:subset",
        "validate": "rlbuffers.validation.validate:validate",
    },
)


def __dir__() -> list[str]:
    return sorted(__all__)
