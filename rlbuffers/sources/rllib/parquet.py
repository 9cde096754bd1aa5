"""RLlib's Parquet files, of which each row is a step or a batch of steps.

Format: ``rllib/offline/dataset_writer.py`` and ``offline_env_runner.py`` of ray-project/ray, written by Ray Data, which
stores arrays as lists and notes their shape as JSON beside the column (``ray.data.arrow_tensor``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.decoding.claims import FREE_BYTES, require_room
from rlbuffers.decoding.parquet_claims import require_honest_columns
from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.listing import listed
from rlbuffers.local_inputs import refuse_special
from rlbuffers.optional import require
from rlbuffers.sources.json_text import parse_json
from rlbuffers.sources.rllib.batches import EXTRA, PURPOSE, Batch, batch_of_columns, object_batch

__all__ = ["parquet_batches"]

Array = np.ndarray[Any, Any]
_BATCH_BYTES = 32 << 20
_TENSOR = b"ray.data.arrow_"


def parquet_batches(path: Path, policy: str | None, on_read: Callable[[int], None]) -> Iterator[Batch]:
    """Read a Parquet file in blocks of rows; see `json_batches`.

    Raises
    ------
    CorruptDataError
        If it is damaged or cut short.
    FormatError
        If it holds no steps; episodes packed by MessagePack are not read.
    MissingDependencyError
        If pyarrow is not installed.
    """
    pyarrow = require("pyarrow", extra=EXTRA, purpose=PURPOSE)
    parquet = require("pyarrow.parquet", extra=EXTRA, purpose=PURPOSE)
    try:
        # Texts stay in dictionaries until it is known what they become.
        texts = _text_columns(parquet, path)
        with parquet.ParquetFile(path, page_checksum_verification=True, read_dictionary=texts) as file:
            schema = require_honest_columns(file, path).schema_arrow
            _check_names(path, schema)
            done, size = 0, max(file.metadata.num_rows, 1)
            total = sum(file.metadata.row_group(index).total_byte_size for index in range(file.num_row_groups))
            rows = int(min(max(_BATCH_BYTES * size // max(total, 1), 1), 1 << 16))
            for block in file.iter_batches(rows):
                block.validate(full=True)
                where = f"{path}: rows {done:,} to {done + block.num_rows - 1:,}"
                if "type" in schema.names:
                    for number, found in enumerate(block.to_pylist()):
                        yield from object_batch(found, policy, f"{path}: row {done + number:,}")
                else:
                    yield _batch(block, where, pyarrow)
                done += block.num_rows
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = (str(error) or repr(error)).splitlines()[0]
        raise CorruptDataError(f"{path}: damaged or cut short: {reason}") from error
    on_read(path.stat().st_size)


def _text_columns(parquet: Any, path: Path) -> list[str]:
    metadata = parquet.read_metadata(refuse_special(path))
    columns = (metadata.schema.column(number) for number in range(metadata.num_columns))
    return [column.path for column in columns if column.physical_type == "BYTE_ARRAY" and "." not in column.path]


def _plain(values: Any, where: str, pyarrow: Any) -> Any:
    """Return the values of a dictionary, which a few bytes may repeat without end."""
    counts = np.bincount(values.indices.drop_null().to_numpy(zero_copy_only=False), minlength=len(values.dictionary))
    if pyarrow.types.is_string(values.dictionary.type) or pyarrow.types.is_binary(values.dictionary.type):
        lengths = np.diff(np.frombuffer(values.dictionary.buffers()[1], np.int32)[: len(values.dictionary) + 1])
        require_room(int(counts @ lengths.astype(np.int64)), max(FREE_BYTES, 2 * _BATCH_BYTES), where)
    return values.dictionary_decode()


def _check_names(path: Path, schema: Any) -> None:
    names = schema.names
    if len(set(names)) != len(names):
        raise FormatError(f"{path}: expected columns of different names, found {listed(names)}")
    if names == ["item"]:
        raise FormatError(
            f"{path}: episodes packed by MessagePack (output_write_episodes=True), which are not read; "
            "record with output_write_episodes=False"
        )


def _batch(block: Any, where: str, pyarrow: Any) -> Batch:
    columns: dict[str, Array] = {}
    left_out: dict[str, str] = {}
    for place, column in enumerate(block.schema):
        for name, found in _leaves(block.column(place), column.name, column.metadata or {}, where, pyarrow):
            if isinstance(found, str):
                left_out[name] = found
            else:
                columns[name] = found
    return Batch(where, columns, left_out)


def _leaves(
    values: Any, name: str, noted: dict[bytes, bytes], where: str, pyarrow: Any
) -> Iterator[tuple[str, Array | str]]:
    types = pyarrow.types
    if isinstance(values, pyarrow.ExtensionArray):
        values = values.storage
    if types.is_dictionary(values.type):
        values = _plain(values, where, pyarrow)
    kind = values.type
    if values.null_count == len(values):
        yield name, "which is empty"
    elif types.is_struct(kind) and {part.name for part in kind} == {"data", "shape"}:
        yield name, _of_any_shape(values, pyarrow)
    elif types.is_struct(kind):
        for index, inner in enumerate(values.flatten()):
            part = kind.field(index)
            yield from _leaves(inner, f"{name}/{part.name}", part.metadata or {}, where, pyarrow)
    elif types.is_string(kind) or types.is_large_string(kind):
        batch = batch_of_columns({name: values.to_pylist()}, where)
        yield name, batch.columns[name] if name in batch.columns else batch.left_out[name]
    else:
        yield name, _shaped(_dense(values, pyarrow), noted)


def _dense(values: Any, pyarrow: Any) -> Array | str:
    """Return numbers, or lists of as many numbers each, as an array."""
    types, kind = pyarrow.types, values.type
    if types.is_fixed_size_list(kind) or types.is_list(kind) or types.is_large_list(kind):
        if values.null_count:
            return "whose lists are missing in some rows"
        if types.is_fixed_size_list(kind):
            length = kind.list_size
        else:
            lengths = np.diff(values.offsets.to_numpy())
            if lengths.min() != lengths.max():
                return "whose lists differ in length"
            length = int(lengths[0])
        inner = _dense(values.flatten(), pyarrow)
        return inner if isinstance(inner, str) else inner.reshape(len(values), length, *inner.shape[1:])
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        return f"which holds {kind}, not numbers"
    # Missing numbers become NaN, missing flags stay out.
    array = np.asarray(values.to_numpy(zero_copy_only=False))
    return array if array.dtype.kind in "biuf" else "whose flags are missing in some rows"


def _shaped(found: Array | str, noted: dict[bytes, bytes]) -> Array | str:
    """Give rows the shape that is noted beside the column, if it is written in JSON."""
    if isinstance(found, str) or not noted.get(b"ARROW:extension:name", b"").startswith(_TENSOR):
        return found
    try:
        shape = parse_json(noted.get(b"ARROW:extension:metadata", b""), "")
        sizes = [int(size) for size in shape]
    except (ValueError, TypeError, OverflowError):  # pickled by some versions of Ray
        return found
    if any(size < 0 for size in sizes) or math.prod(sizes) != math.prod(found.shape[1:]):
        return found
    return found.reshape(len(found), *sizes)


def _of_any_shape(values: Any, pyarrow: Any) -> Array | str:
    """Return arrays that are stored with a shape each, if all are the same."""
    parts = dict(zip((part.name for part in values.type), values.flatten(), strict=True))
    data, shapes = _dense(parts["data"], pyarrow), _dense(parts["shape"], pyarrow)
    if isinstance(data, str) or isinstance(shapes, str) or (shapes != shapes[0]).any():
        return "whose arrays differ in shape"
    sizes = [int(size) for size in shapes[0]]
    if any(size < 0 for size in sizes) or math.prod(sizes) != math.prod(data.shape[1:]):
        return "whose shapes do not fit its numbers"
    return data.reshape(len(data), *sizes)
