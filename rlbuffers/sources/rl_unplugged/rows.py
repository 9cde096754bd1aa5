"""Records whose features are rows of a table, flattened: how many numbers a row has, and under which column.

The records do not say the shape of a row; it follows from the length of each list and the number of
rows. As the publisher's readers do, the first record decides, and every later one must agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rlbuffers.decoding.example_values import FeatureValues
from rlbuffers.errors import FormatError
from rlbuffers.listing import listed
from rlbuffers.schema import ACTIONS, REWARDS, ColumnSpec, is_observation
from rlbuffers.sources.rl_unplugged.shards import Record
from rlbuffers.sources.rl_unplugged.tasks import KnownTask

__all__ = [
    "CAMERA_SHAPE",
    "DISCOUNTS",
    "EPISODIC_REWARDS",
    "FIRST_STEP",
    "LAST_STEP",
    "STEP_TYPES",
    "FeatureKind",
    "RowsLayout",
    "control_column",
    "lay_out",
    "raw_images",
]

Array = np.ndarray[Any, Any]
FeatureKind = Literal["bytes", "float", "int64"]
DISCOUNTS, EPISODIC_REWARDS, STEP_TYPES = "discounts", "episodic_rewards", "step_types"
CAMERA_SHAPE = (64, 64, 3)
_KIND_DTYPES: dict[FeatureKind, Any] = {"bytes": np.uint8, "float": np.float32, "int64": np.int64}
# Step types of dm_env, which the records count in.
FIRST_STEP, LAST_STEP = 0, 2


@dataclass(frozen=True)
class RowsLayout:
    """Features, the columns they become, and the shape of their rows.

    Parameters
    ----------
    columns : mapping of feature to ColumnSpec
        Features with values for each row.
    facts : mapping of feature to ColumnSpec
        Features with one value for the whole record.
    ignored : sequence of str
        Other features of the first record.
    empty : sequence of str
        Features that hold nothing in the first record, and so in every one.
    counted : str
        The feature that has one value a row.
    """

    columns: Mapping[str, ColumnSpec]
    facts: Mapping[str, ColumnSpec]
    ignored: Sequence[str]
    empty: Sequence[str]
    counted: str

    def kind(self, feature: str) -> FeatureKind:
        """Return the kind of list that a feature is."""
        dtype = self.columns[feature].dtype
        return "bytes" if dtype == np.uint8 else "float" if dtype == np.float32 else "int64"

    def values_in_row(self, feature: str) -> int:
        """Return how many values of its list make a row; an image is one, unless all of a record's are in one value."""
        return 1 if self.kind(feature) == "bytes" else math.prod(self.columns[feature].shape)

    @property
    def image_bytes(self) -> int:
        """How many bytes the images of a row are, once they are decoded."""
        return sum(column.row_bytes for name, column in self.columns.items() if self.kind(name) == "bytes")

    def num_rows(self, record: Record) -> int:
        """Check a record against the layout and return how many rows it has.

        Raises
        ------
        FormatError
            If a feature is missing, unknown, of another kind or length; names the record.
        """
        features = record.features
        missing = [name for name in (*self.columns, *self.facts) if name not in features]
        unknown = sorted(set(features) - {*self.columns, *self.facts, *self.ignored, *self.empty})
        if missing or unknown:
            what = f"no feature {missing[0]!r}" if missing else f"a feature {unknown[0]!r}"
            raise FormatError(f"{record.where}: expected the features of the first record, found {what}")
        rows = len(features[self.counted])
        for name in self.columns:
            if not self._is_joined(name, features[name], rows):
                self._check(record, name, self.kind(name), rows * self.values_in_row(name))
        for name in self.empty:
            if len(features.get(name, ())):
                found = len(features[name])
                raise FormatError(
                    f"{record.where}: expected no values in {name!r}, like the first record; found {found}"
                )
        for name, column in self.facts.items():
            self._check(record, name, "float" if column.dtype.kind == "f" else "int64", 1)
        return rows

    def _is_joined(self, feature: str, values: FeatureValues, rows: int) -> bool:
        """Whether all images of a record are one value, as locomotion's cameras are."""
        return isinstance(values, list) and _is_joined(values, rows, self.columns[feature].shape)

    def left_out(self) -> list[str]:
        """Name the features that become no column."""
        return [
            *(f"feature {name!r}, which is not part of the format" for name in self.ignored),
            *(f"feature {name!r}, which holds no values" for name in self.empty),
        ]

    def _check(self, record: Record, feature: str, kind: FeatureKind, count: int) -> None:
        values = record.features[feature]
        found = _kind_of(values)
        if found != kind or len(values) != count:
            raise FormatError(
                f"{record.where}: expected {count} {kind} values in {feature!r}, found {len(values)} {found} values"
            )

    def numbers(self, record: Record) -> dict[str, Array]:
        """Return the rows of every numeric column of a checked record."""
        return {
            column.name: np.asarray(record.features[name]).reshape(-1, *column.shape)
            for name, column in self.columns.items()
            if self.kind(name) != "bytes"
        }

    def images(self, record: Record) -> dict[str, list[bytes]]:
        """Return the images of a record, still encoded, by column."""
        found: dict[str, list[bytes]] = {}
        for name, column in self.columns.items():
            values = record.features[name]
            if isinstance(values, list):
                found[column.name] = values
        return found

    def fact_values(self, record: Record) -> dict[str, Any]:
        """Return the values that a record has once."""
        return {column.name: np.asarray(record.features[name])[0] for name, column in self.facts.items()}

    @property
    def observations(self) -> list[ColumnSpec]:
        """The observation columns."""
        return [column for column in self.columns.values() if is_observation(column.name)]

    def column(self, name: str) -> ColumnSpec | None:
        """Return the column of that name, if there is one."""
        return next((column for column in self.columns.values() if column.name == name), None)

    def unlike(self, task: KnownTask) -> list[str]:
        """Say how the observations and actions differ from what is known of a task."""
        found = {column.name.rpartition("/")[2]: math.prod(column.shape) for column in self.observations}
        known: dict[str, int] = dict(task.observations)
        actions = self.column(ACTIONS)
        if task.action_size is not None and actions is not None:
            known[ACTIONS], found[ACTIONS] = task.action_size, math.prod(actions.shape)
        # Records may hold more than is documented, as those of locomotion do.
        different = [
            f"{name} ({found.get(name, 'absent')} instead of {size})"
            for name, size in sorted(known.items())
            if found.get(name) != size
        ]
        if not (task.observations and different):
            return []
        return [f"The sizes of a row differ from those documented for {task.name}: {listed(different)}."]


def lay_out(
    record: Record,
    column_name: Callable[[str], str | None],
    *,
    counted: str,
    needed: Sequence[str],
    image_shape: tuple[int, ...],
    facts: Mapping[str, str] | None = None,
) -> RowsLayout:
    """Find the shape of a row from the first record.

    Parameters
    ----------
    record : Record
        The first one.
    column_name : callable
        Gives the column of a feature, or None if there is none.
    counted : str
        The feature that has one value a row.
    needed : sequence of str
        Columns that must be there, besides observations.
    image_shape : tuple of int
        Of the images, where observations are bytes.
    facts : mapping of feature to name, optional
        Features that may be there once a record.

    Raises
    ------
    FormatError
        If a needed feature is missing, or a list is not a whole number of rows.
    """
    rows = len(record.features.get(counted, ()))
    columns: dict[str, ColumnSpec] = {}
    single: dict[str, ColumnSpec] = {}
    ignored, empty = [], []
    for feature, values in sorted(record.features.items()):
        name = column_name(feature)
        if facts and feature in facts:
            single[feature] = ColumnSpec(facts[feature], np.dtype(_KIND_DTYPES[_kind_of(values)]))
        elif name is None or not rows:
            ignored.append(feature)
        elif not len(values):
            empty.append(feature)
        else:
            columns[feature] = _column(record, feature, name, rows, image_shape)
    layout = RowsLayout(columns, single, tuple(ignored), tuple(empty), counted)
    missing = [name for name in needed if layout.column(name) is None]
    missing += [] if layout.observations else ["observations"]
    if missing:
        found = listed(sorted(record.features)) or "none"
        raise FormatError(f"{record.where}: expected features for {listed(missing)}; found {found}")
    layout.num_rows(record)
    return layout


def _column(record: Record, feature: str, name: str, rows: int, image_shape: tuple[int, ...]) -> ColumnSpec:
    values = record.features[feature]
    kind = _kind_of(values)
    joined = isinstance(values, list) and _is_joined(values, rows, image_shape)
    size, rest = (1, 0) if joined else divmod(len(values), rows)
    is_scalar = not (is_observation(name) or name == ACTIONS) or (kind == "int64" and size == 1)
    if rest or not size or (size != 1 and (is_scalar or kind == "bytes")):
        wanted = f"{rows}" if is_scalar or kind == "bytes" else f"a multiple of {rows}"
        raise FormatError(f"{record.where}: expected {wanted} values in {feature!r}, found {len(values)}")
    shape = image_shape if kind == "bytes" else () if is_scalar else (size,)
    if kind == "bytes" and not is_observation(name):
        raise FormatError(f"{record.where}: expected numbers in {feature!r}, found bytes")
    return ColumnSpec(name, np.dtype(_KIND_DTYPES[kind]), shape)


def _kind_of(values: FeatureValues) -> FeatureKind:
    if isinstance(values, list):
        return "bytes"
    return "float" if values.dtype == np.float32 else "int64"


_CONTROL_COLUMNS = {
    "action": ACTIONS,
    "reward": REWARDS,
    "discount": DISCOUNTS,
    "episodic_reward": EPISODIC_REWARDS,
    "step_type": STEP_TYPES,
    "observation": "observations",
}


def control_column(feature: str) -> str | None:
    """Return the column of a feature of the control suite's, the locomotion's and bsuite's records."""
    if feature.startswith("observation/"):
        return f"observations/{feature.removeprefix('observation/').removeprefix('walker/')}"
    return _CONTROL_COLUMNS.get(feature)


def _is_joined(values: Sequence[bytes], rows: int, image_shape: tuple[int, ...]) -> bool:
    return len(values) == 1 and rows > 1 and len(values[0]) == rows * math.prod(image_shape)


def raw_images(files: Sequence[bytes], where: str) -> Array:
    """Return images that are stored as their bytes: uint8, shape (T, 64, 64, 3).

    A value holds one image, or several, as the publisher's readers take it.

    Raises
    ------
    FormatError
        If one is not a whole number of images.
    """
    size = math.prod(CAMERA_SHAPE)
    for number, file in enumerate(files):
        if not file or len(file) % size:
            raise FormatError(f"{where}: image {number}: expected {size} bytes ({CAMERA_SHAPE}), found {len(file)}")
    return np.frombuffer(b"".join(files), np.uint8).reshape(-1, *CAMERA_SHAPE)
