"""Minari's datasets by their ids, which only its server lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rlbuffers.published.downloads import Downloads
from rlbuffers.published.known import KnownDataset

if TYPE_CHECKING:
    from rlbuffers.sources.base import Source

__all__ = ["known", "source"]


def known() -> Iterator[KnownDataset]:
    """Yield nothing: ``minari list remote`` asks the server."""
    yield from ()


def source(name: str, downloads: Downloads) -> Source[Any]:
    """Return what reads a dataset; the minari package downloads it to its own folder if it is not there."""
    from rlbuffers.sources.minari.dataset import MinariSource
    from rlbuffers.sources.minari.places import dataset_folder

    return MinariSource(dataset_folder(name))
