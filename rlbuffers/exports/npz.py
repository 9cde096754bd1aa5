"""A NumPy archive (``.npz``) of flat arrays with the D4RL names, as ``numpy.load`` reads it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.exports.base import Export, block_rows
from rlbuffers.exports.flat_arrays import flat_names, lost_in_flat_arrays
from rlbuffers.schema import REWARDS
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["NpzExport"]

_npy: Any = np.lib.format  # NumPy's stubs leave it untyped


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
                column = buffer.spec.batch_column(name)
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    _write_header(member, column.dtype, (len(buffer), *column.shape))
                    for start in range(0, len(buffer), step):
                        stop = min(start + step, len(buffer))
                        rows = buffer.rows(np.arange(start, stop), [name])[name]
                        member.write(np.ascontiguousarray(rows).data)
                        on_progress((number * len(buffer) + stop) // len(names))
            for name in buffer.spec.extras:
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    _npy.write_array(member, buffer.extra(name), allow_pickle=False)
            for name, scalar in buffer.metadata.get("scalars", {}).items():
                with archive.open(f"{name}.npy", "w") as member:
                    value = np.array(scalar["value"], None if scalar["dtype"] == "str" else scalar["dtype"])
                    _npy.write_array(member, value, allow_pickle=False)

    def tally(self, path: Path) -> Tally:
        """Load the rewards with NumPy."""
        with np.load(path, allow_pickle=False) as archive:
            rewards = archive[REWARDS]
        return Tally(None, len(rewards), total_reward(rewards))

    def left_out(self) -> Sequence[str]:
        """Name what flat arrays do not tell."""
        return lost_in_flat_arrays(self.buffer)


def _write_header(member: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    described = {"descr": _npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    _npy.write_array_header_2_0(member, described)
