"""Which columns of the Parquet files become columns of a buffer, and how Arrow's arrays become NumPy's."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.decoding.images import decode_images
from rlbuffers.errors import FormatError, SpecError
from rlbuffers.listing import listed
from rlbuffers.optional import require
from rlbuffers.schema import ACTIONS, OBSERVATIONS, REWARDS, TERMINALS, TIMEOUTS, ColumnSpec
from rlbuffers.sources.lerobot.layout import EXTRA

__all__ = ["DERIVED", "EPISODE_INDEX", "REWARD", "TERMINATED", "TRUNCATED", "Column", "column_names", "found_columns"]

Array = np.ndarray[Any, Any]
EPISODE_INDEX = "episode_index"
REWARD, TERMINATED, TRUNCATED = "next.reward", "next.terminated", "next.truncated"
# Mark of a feature that rlbuffers made of others, in what the info says of it.
DERIVED = {"rlbuffers": "derived"}
_POSITIONS = (EPISODE_INDEX, "frame_index", "index")
_ACTION_NAMES = ("action", "actions")
_OBSERVATION = "observation"
# What LeRobot adds to every dataset.
_ADDED = ("timestamp", "frame_index", EPISODE_INDEX, "index", "task_index")
_MODES = ("L", "RGB", "RGBA")


@dataclass(frozen=True)
class Column:
    """A column of the files and what becomes of it.

    Parameters
    ----------
    stored : str
        Its name in the files.
    spec : ColumnSpec
        Name, dtype and shape of a row in the buffer.
    is_image : bool
        Whether its rows are image files.
    """

    stored: str
    spec: ColumnSpec
    is_image: bool = False

    def rows(self, values: Any, path: Path) -> Array:
        """Return the rows of an Arrow array.

        Raises
        ------
        FormatError
            If they have another shape, or a value is missing.
        CorruptDataError
            If an image is damaged.
        """
        where = f"{path}: {self.stored!r}"
        if self.is_image:
            return decode_images(_image_files(values, where), self.spec.shape, where, extra=EXTRA)
        count, values = len(values), _stored(values)
        while hasattr(values.type, "value_type") and not values.null_count:
            widths = np.diff(values.offsets.to_numpy()) if hasattr(values, "offsets") else np.empty(0, np.int64)
            if (widths != widths[:1]).any():
                raise FormatError(f"{where}: expected rows of one length, found {widths.min():,} to {widths.max():,}")
            values = _stored(values.flatten())
        if values.null_count:
            raise FormatError(f"{where}: expected numbers in every row, found a row without a value")
        numbers = np.asarray(values.to_numpy(zero_copy_only=False))
        if len(numbers) != count * math.prod(self.spec.shape):
            raise FormatError(
                f"{where}: expected rows of shape {self.spec.shape}, found {len(numbers):,} numbers in {count:,} rows"
            )
        return numbers.reshape(count, *self.spec.shape).astype(self.spec.dtype, copy=False)


def column_names(stored: Sequence[str], said: Iterable[str]) -> dict[str, str]:
    """Return the buffer's names of columns.

    ``action`` becomes ``actions``, ``next.reward`` ``rewards``, ``observation.state`` ``observations/state``, and all
    else an info, with ``/`` for each dot. If no feature is named ``observation``, all are observations that LeRobot
    does not add itself and that are neither action nor ``next.*``. Where ``next.terminated`` tells the two ends
    apart, it becomes ``terminals``, and ``next.truncated`` ``timeouts``.

    Parameters
    ----------
    stored : sequence of str
        Columns of the files.
    said : iterable of str
        All features, those of videos included.
    """
    action = next((name for name in _ACTION_NAMES if name in stored), None)
    any_observation = any(_is_observation(name) for name in said)
    found: dict[str, str] = {}
    for name in stored:
        parts = name.replace("/", ".").split(".")
        inner = "/".join(part for part in parts if part)
        if name == action:
            found[name] = ACTIONS
        elif name == REWARD:
            found[name] = REWARDS
        elif TERMINATED in stored and name in (TERMINATED, TRUNCATED):
            found[name] = TERMINALS if name == TERMINATED else TIMEOUTS
        elif _is_observation(name):
            found[name] = "/".join([OBSERVATIONS, *parts[1:]])
        elif not any_observation and name not in _ADDED and parts[0] not in ("next", *_ACTION_NAMES):
            found[name] = f"{OBSERVATIONS}/{inner}"
        else:
            found[name] = f"infos/{inner}"
    outer = {name for name in found.values() if any(other.startswith(f"{name}/") for other in found.values())}
    outer -= {ACTIONS, REWARDS}
    return {name: f"{target}/value" if target in outer else target for name, target in found.items()}


def _is_observation(name: str) -> bool:
    return name.replace("/", ".").split(".")[0] == _OBSERVATION


def found_columns(
    schemas: Mapping[Path, Any], first: Any, features: Mapping[str, Mapping[str, Any]], left_out: list[str]
) -> list[Column]:
    """Decide about the columns of the files.

    Parameters
    ----------
    schemas : mapping of Path to pyarrow.Schema
        Of every file.
    first : pyarrow.RecordBatch
        The first rows, one or more.
    features : mapping
        What the info says of each.
    left_out : list of str
        Sentences are added to it.

    Raises
    ------
    FormatError
        If the files have other columns, or no actions, or no observations that can be stored.
    """
    path = next(iter(schemas))
    names = schemas[path].names
    for other, schema in schemas.items():
        if set(schema.names) != set(names):
            different = listed(sorted(set(names) ^ set(schema.names)))
            raise FormatError(f"{other}: expected the columns of {path.name}; only one of both has {different}")
    targets = column_names(names, [*features, *names])
    found = []
    for name in names:
        if name in _POSITIONS or (features.get(name, {}).get("info") or {}) == DERIVED:
            continue
        types = {str(schema.field(name).type): schema.field(name).type for schema in schemas.values()}
        try:
            found.append(_column(name, targets[name], list(types.values()), first.column(name), features.get(name, {})))
        except SpecError as error:
            if targets[name] == ACTIONS:
                raise FormatError(f"{path}: {name!r}: {error}") from error
            left_out.append(f"{name!r}: {error}")
    left_out += [
        f"{name!r}, a video"
        for name, feature in features.items()
        if feature.get("dtype") == "video" and name not in names
    ]
    kept = [column.spec.name for column in found]
    if ACTIONS not in kept or not any(name.split("/")[0] == OBSERVATIONS for name in kept):
        wanted = "'action'" if ACTIONS not in kept else "an observation that is not a video"
        raise FormatError(f"{path}: expected {wanted}; found {listed(names)}")
    return found


def _column(name: str, target: str, types: list[Any], values: Any, feature: Mapping[str, Any]) -> Column:
    """Describe a column; a `SpecError` says why it cannot be kept."""
    if any(_is_image(kind) for kind in types):
        return Column(name, ColumnSpec(target, np.dtype(np.uint8), _image_shape(values)), is_image=True)
    dtypes = []
    for kind in types:
        inner = getattr(kind, "storage_type", kind)
        while hasattr(inner, "value_type"):
            inner = inner.value_type
        if not str(inner).startswith(("bool", "int", "uint", "float", "double", "halffloat")):
            raise SpecError("it holds texts or objects")
        dtypes.append(np.dtype(inner.to_pandas_dtype()))
    shape = _shape(values, feature)
    dtype = np.dtype(np.bool_) if target in (TERMINALS, TIMEOUTS) else np.result_type(*dtypes)
    single = target in (REWARDS, TERMINALS, TIMEOUTS) and shape == (1,)
    return Column(name, ColumnSpec(target, dtype, () if single else shape))


def _shape(values: Any, feature: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the shape of a row: the stored lists', or the stated one where these are flat."""
    sizes: list[int] = []
    values = _stored(values[:1])
    while hasattr(values.type, "value_type"):
        count = len(values)
        values = _stored(values.flatten())
        sizes.append(len(values) // max(count, 1))
    stated = feature.get("shape")
    if len(sizes) == 1 and isinstance(stated, list) and len(stated) > 1 and all(isinstance(n, int) for n in stated):
        return tuple(stated) if math.prod(stated) == sizes[0] else tuple(sizes)
    return tuple(sizes)


def _stored(values: Any) -> Any:
    """Return what is stored of an array whose type an extension names, as the datasets library does."""
    return getattr(values, "storage", values)


def _is_image(kind: Any) -> bool:
    is_struct = str(kind).startswith("struct") and kind.get_field_index("bytes") >= 0
    return is_struct or str(kind) in ("binary", "large_binary")


def _image_shape(values: Any) -> tuple[int, ...]:
    image_module = require("PIL.Image", extra=EXTRA, purpose="Decoding images")
    (file, *_) = _image_files(values[:1], "", required=False) or [b""]
    if not file:
        raise SpecError("its images stand in other files")
    try:
        with image_module.open(io.BytesIO(file), formats=("PNG", "JPEG")) as opened:
            bands = len(opened.getbands())
            if opened.mode not in _MODES:
                raise SpecError(f"its images are neither gray nor RGB with 8 bits (mode {opened.mode})")
            return (opened.height, opened.width, bands)
    except (OSError, SyntaxError, ValueError, image_module.DecompressionBombError) as error:
        raise SpecError(f"its images are neither PNG nor JPEG: {error}") from error


def _image_files(values: Any, where: str, *, required: bool = True) -> list[bytes]:
    files = values.field("bytes") if hasattr(values, "field") else values
    listed: list[bytes] = files.to_pylist()
    if required and any(not file for file in listed):
        raise FormatError(f"{where}: expected an image in every row, found a row without one")
    return listed
