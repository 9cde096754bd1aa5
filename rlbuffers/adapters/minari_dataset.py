"""A buffer as a ``minari.MinariDataset``."""

from __future__ import annotations

from typing import Any

from rlbuffers.exports.export import export
from rlbuffers.optional import require
from rlbuffers.reader import Buffer

__all__ = ["to_minari"]


def to_minari(buffer: Buffer, dataset_id: str) -> Any:
    """Write a buffer as a Minari dataset and open it with the minari package.

    Parameters
    ----------
    buffer : Buffer
        Of the ``episodes`` layout.
    dataset_id : str
        Such as ``cartpole/expert-v0``; must not exist yet.

    Returns
    -------
    minari.MinariDataset
        See `rlbuffers.exports.minari.dataset` for what it cannot hold.

    Raises
    ------
    MissingDependencyError
        If minari is not installed.
    UsageError, BufferExistsError, UnsupportedError
        If the id is none, is taken, or the buffer holds no episodes.
    """
    minari = require("minari", extra=None, purpose="to_minari()")
    export(buffer, dataset_id, "minari")
    return minari.load_dataset(dataset_id)
