"""A NumPy archive (``.npz``) of flat arrays with the D4RL names, as ``numpy.load`` reads it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.exports.base import Export, block_rows
from rlbuffers.exports.flat_arrays import flat_names, lost_in_flat_arrays
from rlbuffers.exports.npz_members import write_array, write_rows, write_scalars
from rlbuffers.schema import REWARDS
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["NpzExport"]

Array = np.ndarray[Any, Any]


class NpzExport(Export):
    """One member a column; extras and scalars under their own names."""

    suffix = ".npz"

    def write(self, path: Path, on_progress: Callable[[int], None]) -> None:
        """Write column by column, in blocks of rows."""
        buffer = self.buffer
        names = flat_names(buffer)
        step = block_rows(buffer)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for number, name in enumerate(names):
                write_rows(archive, name, buffer.spec.batch_column(name), len(buffer), self._blocks(name, step))
                on_progress((number + 1) * len(buffer) // len(names))
            for name in buffer.spec.extras:
                write_array(archive, name, buffer.extra(name))
            write_scalars(archive, buffer.metadata.get("scalars", {}))

    def _blocks(self, name: str, step: int) -> Iterator[Array]:
        for start in range(0, len(self.buffer), step):
            rows = np.arange(start, min(start + step, len(self.buffer)))
            yield self.buffer.rows(rows, [name])[name]

    def tally(self, path: Path) -> Tally:
        """Load the rewards with NumPy."""
        with np.load(path, allow_pickle=False) as archive:
            rewards = archive[REWARDS]
        return Tally(None, len(rewards), total_reward(rewards))

    def left_out(self) -> Sequence[str]:
        """Name what flat arrays do not tell."""
        return lost_in_flat_arrays(self.buffer)
