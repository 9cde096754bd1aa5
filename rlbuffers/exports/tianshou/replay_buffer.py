"""The HDF5 file that ``tianshou.data.ReplayBuffer.load_hdf5`` opens; Tianshou is not needed to write it.

Such a file is a dump of the buffer object. Everything in it here is a number or an array. Tianshou's own files hold
one pickle more, the state of a random generator; where it is missing, Tianshou makes one with its default seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from rlbuffers.exports.base import Export
from rlbuffers.exports.hdf5_arrays import write_rows
from rlbuffers.exports.tianshou.layout import TianshouArray, TianshouLayout
from rlbuffers.hdf5_writing import written_hdf5
from rlbuffers.reader import Buffer
from rlbuffers.schema import ColumnSpec
from rlbuffers.sources.tianshou.dump import KIND, ROWS
from rlbuffers.sources.tianshou.file import BEGINS
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["TianshouExport"]


class TianshouExport(Export):
    """A ReplayBuffer that is full to its last row, episodes one after the other.

    Raises
    ------
    UnsupportedError
        If the buffer has no terminals.
    """

    suffix = ".hdf5"
    # Of an array: the file's own attributes become those of the object in Tianshou, and stay when rows are added.
    kept_place = f"{ROWS}/rew"

    def __init__(self, buffer: Buffer) -> None:
        super().__init__(buffer)
        self._layout = TianshouLayout(buffer)

    def write(self, path: Path, on_progress: Callable[[int], None]) -> None:
        """Write array by array, in blocks of rows."""
        count = len(self.buffer)
        indices = ColumnSpec("_indices", np.dtype(np.int64))
        arrays = [TianshouArray("_indices", indices, np.arange)]
        arrays += [TianshouArray(f"{ROWS}/{array.place}", array.column, array.read) for array in self._layout.arrays()]
        with written_hdf5(path, on_progress) as (file, on_progress):
            file.attrs.update(self._layout.numbers)
            file.create_group("options").attrs.update(self._layout.options)
            file.create_group(ROWS).attrs[KIND] = "Batch"
            file[ROWS].create_group("info")
            file["last_index"] = np.array([count - 1])
            file["last_index"].attrs.update({KIND: "ndarray", BEGINS: self._layout.begins})
            for number, array in enumerate(arrays):
                tell = partial(_tell, on_progress, number * count, len(arrays))
                write_rows(file, array.place, self.buffer, array.column, array.read, tell)
                file[array.place].attrs[KIND] = "ndarray"

    def expected(self, before: Tally) -> Tally:
        """Everything; the number of episodes only if Tianshou sees the same ones."""
        episodes = before.episodes if self._layout.episodes_agree else None
        return Tally(episodes, before.transitions, before.reward_sum)

    def tally(self, path: Path) -> Tally:
        """Read rewards and ends with h5py."""
        with h5py.File(path, "r") as file:
            rewards, done = file[f"{ROWS}/rew"][:], file[f"{ROWS}/done"][:]
        episodes = int(done.sum()) + int(not done[-1]) if self._layout.episodes_agree else None
        return Tally(episodes, len(rewards), total_reward(rewards))

    def left_out(self) -> Sequence[str]:
        """Name what Tianshou cannot hold."""
        return self._layout.left_out()


def _tell(on_progress: Callable[[int], None], before: int, num_arrays: int, rows: int) -> None:
    on_progress((before + rows) // num_arrays)
