"""A buffer as a ``tianshou.data.ReplayBuffer`` in RAM, the one that its exported file would give."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlbuffers.exports.base import block_rows
from rlbuffers.exports.tianshou.layout import TianshouArray, TianshouLayout
from rlbuffers.optional import require
from rlbuffers.reader import Buffer

__all__ = ["to_tianshou"]

Array = np.ndarray[Any, Any]


def to_tianshou(buffer: Buffer) -> Any:
    """Return the transitions as a ``tianshou.data.ReplayBuffer``.

    Parameters
    ----------
    buffer : Buffer
        Where the rows come from; decoded into RAM.

    Returns
    -------
    tianshou.data.ReplayBuffer
        Full to its last row. Frames of stacked episodes are stored once.

    Raises
    ------
    UnsupportedError
        If the buffer has no terminals.
    MissingDependencyError
        If Tianshou is not installed.
    """
    data = require("tianshou.data", extra=None, purpose="to_tianshou()")
    layout = TianshouLayout(buffer)
    rows: dict[str, Any] = {"info": {}}
    for array in layout.arrays():
        *folders, name = array.place.split("/")
        place = rows
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = _decoded(array, buffer)
    made = data.ReplayBuffer.__new__(data.ReplayBuffer)
    made.__setstate__(  # as load_hdf5 does: what is not said here gets its default
        {
            **layout.numbers,
            "options": layout.options,
            "_indices": np.arange(len(buffer)),
            "last_index": np.array([len(buffer) - 1]),
            "_meta": data.Batch(rows),
        }
    )
    return made


def _decoded(array: TianshouArray, buffer: Buffer) -> Array:
    step = block_rows(buffer)
    whole = np.empty((len(buffer), *array.column.shape), array.column.dtype)
    for start in range(0, len(buffer), step):
        stop = min(start + step, len(buffer))
        whole[start:stop] = array.read(start, stop)
    return whole
