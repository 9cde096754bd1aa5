"""The features of a LeRobot dataset for a buffer's columns; the way back is in ``sources/lerobot/columns.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rlbuffers.decoding.png_writer import PNG_CHANNELS, encode_pngs
from rlbuffers.errors import UnsupportedError
from rlbuffers.listing import listed
from rlbuffers.optional import require
from rlbuffers.reader import Buffer
from rlbuffers.schema import ACTIONS, OBSERVATIONS, REWARDS, TERMINALS, TIMEOUTS, ColumnSpec
from rlbuffers.sources.lerobot.columns import DERIVED, REWARD, TERMINATED, TRUNCATED
from rlbuffers.sources.lerobot.layout import EXTRA

__all__ = ["ADDED", "DONE", "Feature", "features_of"]

Array = np.ndarray[Any, Any]
DONE = "next.done"
_MIN_IMAGE_SIDE = 32
_MAX_AXES = 5
# What LeRobot adds to every dataset, and its dtype there.
ADDED = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
_STATE = f"{OBSERVATIONS}/state"
_FIXED = {
    ACTIONS: "action",
    REWARDS: REWARD,
    TERMINALS: TERMINATED,
    TIMEOUTS: TRUNCATED,
    OBSERVATIONS: "observation.state",
}


@dataclass(frozen=True)
class Feature:
    """One feature.

    Parameters
    ----------
    name : str
        Its name in the dataset.
    column : str or None
        The buffer's column; None for what is made of others.
    dtype : numpy.dtype
        Of the numbers.
    shape : tuple of int
        Of a row; () is written as LeRobot's (1,).
    is_image : bool
        Whether rows are image files.
    """

    name: str
    column: str | None
    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()
    is_image: bool = False

    def info(self) -> dict[str, Any]:
        """Describe it for ``info.json``."""
        names = ["height", "width", "channels"] if self.is_image else None
        dtype = "image" if self.is_image else self.dtype.name
        told = {"dtype": dtype, "shape": list(self.shape or (1,)), "names": names}
        return told if self.column is not None else {**told, "info": DERIVED}

    def arrow_type(self) -> Any:
        """Return pyarrow's type of a row."""
        arrow = require("pyarrow", extra=EXTRA, purpose="Writing LeRobot datasets")
        if self.is_image:
            return arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
        kind = arrow.from_numpy_dtype(self.dtype)
        if self.shape in ((), (1,)):  # LeRobot stores single numbers as such
            return kind
        if len(self.shape) == 1:
            return arrow.list_(kind, self.shape[0])
        for _ in self.shape:
            kind = arrow.list_(kind)
        return kind

    def arrow_rows(self, rows: Array) -> Any:
        """Return rows as an array of pyarrow."""
        arrow = require("pyarrow", extra=EXTRA, purpose="Writing LeRobot datasets")
        if self.is_image:
            return arrow.array([{"bytes": file, "path": None} for file in encode_pngs(rows)], self.arrow_type())
        values = arrow.array(np.ascontiguousarray(rows).ravel())
        if self.shape in ((), (1,)):
            return values
        if len(self.shape) == 1:
            return arrow.FixedSizeListArray.from_arrays(values, self.shape[0])
        for axis in range(len(self.shape), 0, -1):
            size = self.shape[axis - 1]
            offsets = np.arange(len(values) // size + 1, dtype=np.int32) * size
            values = arrow.ListArray.from_arrays(arrow.array(offsets), values)
        return values


def features_of(buffer: Buffer) -> tuple[list[Feature], list[str]]:
    """Return the features for a buffer, LeRobot's own included, and what has no place or not its own name.

    Raises
    ------
    UnsupportedError
        If a column has more axes than LeRobot stores.
    """
    found: list[Feature] = []
    lost, renamed, infos = [], [], []
    for name, column in buffer.spec.columns.items():
        feature = _feature(name, column, buffer.spec.stack)
        if len(feature.shape) > _MAX_AXES:
            raise UnsupportedError(
                f"{buffer.path}: column {name!r} has rows of shape {column.shape}; LeRobot stores at most {_MAX_AXES} "
                "axes"
            )
        if feature.name in {other.name for other in found} or _means_something_else(name, feature.name):
            lost.append(name)
            continue
        found.append(feature)
        back = _STATE if name == OBSERVATIONS else name
        if name.split("/")[0] == OBSERVATIONS and (name != back or "." in name):
            renamed.append(f"{name} (now {feature.name})")
        elif name not in _FIXED and name.split("/")[0] not in (OBSERVATIONS, "infos"):
            infos.append(name)
    names = {feature.name for feature in found}
    if DONE not in names:
        found.append(Feature(DONE, None, np.dtype(np.bool_)))
    found += [Feature(name, None, np.dtype(dtype)) for name, dtype in ADDED.items() if name not in names]
    told = [
        *([f"columns whose names mean something else there: {listed(lost)}"] if lost else []),
        *([f"the names of observations: {listed(renamed)}"] if renamed else []),
        *([f"that columns are not infos: {listed(infos)}"] if infos else []),
        *_told_of_shapes(found),
    ]
    return found, told


def _feature(name: str, column: ColumnSpec, stack: int) -> Feature:
    shape = column.shape
    if stack and name == OBSERVATIONS:
        shape = (*shape[1:], 1)
    is_image = (
        column.dtype == np.uint8 and len(shape) == 3 and shape[2] in PNG_CHANNELS and min(shape[:2]) >= _MIN_IMAGE_SIDE
    )
    target = _FIXED.get(name)
    if target is None and name.startswith(f"{OBSERVATIONS}/"):
        target = "observation" + name.removeprefix(OBSERVATIONS)
    target = (target or name.removeprefix("infos/")).replace("/", ".")
    return Feature(target, name, column.dtype, shape, is_image)


def _means_something_else(name: str, target: str) -> bool:
    """Whether a reader would take a column for another thing."""
    if name in _FIXED or name.startswith(f"{OBSERVATIONS}/"):
        return False
    if name == "infos/timestamp" or name == "infos/task_index":
        return False
    head = target.split(".")[0]
    return target in (REWARD, TERMINATED, TRUNCATED, *ADDED) or head in ("observation", "action", "actions")


def _told_of_shapes(features: list[Feature]) -> list[str]:
    single = [feature.column for feature in features if feature.shape == (1,) and feature.column != REWARDS]
    return [f"that rows of {listed(map(str, single))} are vectors of one: numbers are stored"] if single else []
