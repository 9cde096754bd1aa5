"""HDF5 of flat arrays with the D4RL names, as D4RL's loaders and their many imitators read it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import h5py

from rlbuffers.errors import UnsupportedError
from rlbuffers.exports.base import Export
from rlbuffers.exports.flat_arrays import flat_names, lost_in_flat_arrays
from rlbuffers.exports.hdf5_arrays import write_column, write_scalar, write_whole
from rlbuffers.hdf5_writing import written_hdf5
from rlbuffers.listing import listed
from rlbuffers.reader import Buffer
from rlbuffers.schema import REWARDS, TERMINALS
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["D4RLExport"]

_WHOLE = "metadata/"


class D4RLExport(Export):
    """One dataset a column; extras and scalars under their own names, dict observations as groups.

    Raises
    ------
    UnsupportedError
        If the buffer has no terminals, which every reader of such a file looks up.
    """

    suffix = ".hdf5"

    def __init__(self, buffer: Buffer) -> None:
        super().__init__(buffer)
        if TERMINALS not in buffer.spec.columns:
            raise UnsupportedError(f"{buffer.path}: has no column 'terminals', without which a D4RL file is not read")
        self._names = flat_names(buffer)
        self._scalars: dict[str, dict[str, Any]] = buffer.metadata.get("scalars", {})
        self._written = list(self._names)
        self._taken: list[str] = []
        for name in (*buffer.spec.extras, *self._scalars):
            (self._taken if _in_the_way(name, self._written) else self._written).append(name)

    def write(self, path: Path, on_progress: Callable[[int], None]) -> None:
        """Write column by column, in blocks of rows."""
        done = 0

        def tell(rows: int) -> None:
            on_progress((done + rows) // len(self._names))

        with written_hdf5(path, on_progress) as (file, on_progress):
            for name in self._names:
                write_column(file, name, self.buffer, name, tell)
                done += len(self.buffer)
            for name in self._whole():
                write_whole(file, name, self.buffer.extra(name))
            for name, scalar in self._scalars.items():
                if name not in self._taken:
                    write_scalar(file, name, scalar)

    def _whole(self) -> list[str]:
        return [name for name in self.buffer.spec.extras if name not in self._taken]

    def tally(self, path: Path) -> Tally:
        """Read the rewards with h5py."""
        with h5py.File(path, "r") as file:
            rewards = file[REWARDS][:]
        return Tally(None, len(rewards), total_reward(rewards))

    def left_out(self) -> Sequence[str]:
        """Name what flat arrays do not tell."""
        found = lost_in_flat_arrays(self.buffer)
        if self._taken:
            found.append(f"what has the name of a column: {listed(self._taken)}")
        mistaken = [
            name
            for name in self._whole()
            if not name.startswith(_WHOLE) and len(self.buffer.extra(name)) == len(self.buffer)
        ]
        if mistaken:
            found.append(f"that {listed(mistaken)} are no columns, although they have as many rows")
        return found


def _in_the_way(name: str, others: Iterable[str]) -> bool:
    """Whether an array of this name cannot stand in the same file."""
    return any(name == other or name.startswith(f"{other}/") or other.startswith(f"{name}/") for other in others)
