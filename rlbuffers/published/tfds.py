"""RLDS datasets of TensorFlow Datasets by their names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rlbuffers.published.downloads import Downloads
from rlbuffers.published.known import KnownDataset

if TYPE_CHECKING:
    from rlbuffers.sources.base import Source

__all__ = ["known", "source"]


def known() -> Iterator[KnownDataset]:
    """Yield nothing: which there are depends on the version of tensorflow-datasets."""
    yield from ()


def source(name: str, downloads: Downloads) -> Source[Any]:
    """Return what reads a dataset; tensorflow-datasets prepares it in its own folder if it is not there."""
    from rlbuffers.sources.tfds.directory import default_data_dir, prepared_dir
    from rlbuffers.sources.tfds.rlds import RLDSSource

    return RLDSSource(prepared_dir(name, default_data_dir()))
