"""The target formats: a table from name to the class that writes it; see ``base.py`` for the contract."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlbuffers.errors import UsageError
from rlbuffers.formats import Format

if TYPE_CHECKING:
    from rlbuffers.exports.base import Export
    from rlbuffers.reader import Buffer

__all__ = ["EXPORTS", "ExportFormat", "default_output", "export_class"]


@dataclass(frozen=True)
class ExportFormat(Format):
    """One line of the table: also where the class is."""

    module: str = ""
    class_name: str = ""


EXPORTS = {
    "d3rlpy": ExportFormat(
        "d3rlpy.dataset.ReplayBuffer.load", module="rlbuffers.exports.d3rlpy.replay_buffer", class_name="D3rlpyExport"
    ),
    "d4rl": ExportFormat(
        "plain arrays in HDF5 under the D4RL names", module="rlbuffers.exports.d4rl_hdf5", class_name="D4RLExport"
    ),
    "hdf5": ExportFormat(
        "an rlbuffers buffer in HDF5", module="rlbuffers.exports.buffer_copy", class_name="HDF5BufferExport"
    ),
    "lerobot": ExportFormat(
        "lerobot.datasets.LeRobotDataset (v3.0)",
        ("pyarrow",),
        "lerobot",
        module="rlbuffers.exports.lerobot.dataset",
        class_name="LeRobotExport",
    ),
    "minari": ExportFormat("minari.load_dataset", module="rlbuffers.exports.minari.dataset", class_name="MinariExport"),
    "npz": ExportFormat(
        "a NumPy archive of arrays with the D4RL names", module="rlbuffers.exports.npz", class_name="NpzExport"
    ),
    "ogbench": ExportFormat(
        "ogbench.utils.load_dataset", module="rlbuffers.exports.ogbench", class_name="OGBenchExport"
    ),
    "rlds": ExportFormat(
        "tfds.builder_from_directory", module="rlbuffers.exports.rlds.dataset", class_name="RLDSExport"
    ),
    "robomimic": ExportFormat(
        "robomimic.utils.dataset.SequenceDataset",
        module="rlbuffers.exports.robomimic.dataset",
        class_name="RobomimicExport",
    ),
    "tianshou": ExportFormat(
        "tianshou.data.ReplayBuffer.load_hdf5",
        module="rlbuffers.exports.tianshou.replay_buffer",
        class_name="TianshouExport",
    ),
    "zarr": ExportFormat(
        "an rlbuffers buffer in Zarr", module="rlbuffers.exports.buffer_copy", class_name="ZarrBufferExport"
    ),
}


def default_output(buffer: Buffer, name: str) -> str:
    """Return where a buffer is exported to if no place is named: beside it, under its own name."""
    chosen = export_class(name)
    suffix = chosen.suffix if chosen.suffix != buffer.path.suffix else f".{name}{chosen.suffix}"
    return str(buffer.path.with_name(f"{buffer.path.stem}{suffix}"))


def export_class(name: str) -> type[Export]:
    """Return the class that writes a format.

    Raises
    ------
    UsageError
        If there is no such format; lists the choices.
    """
    try:
        entry = EXPORTS[name]
    except KeyError:
        raise UsageError(f"cannot export to {name!r}; choose one of {', '.join(EXPORTS)}") from None
    found: type[Export] = getattr(importlib.import_module(entry.module), entry.class_name)
    return found
