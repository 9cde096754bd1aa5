"""The Arrow and Parquet payloads of a Minari dataset: one folder an episode, T + 1 rows each.

Actions, rewards and flags are padded to T + 1 rows; the last one of each is dropped here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.decoding.arrow_claims import require_honest_buffers
from rlbuffers.decoding.parquet_claims import require_honest_columns
from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.listing import listed
from rlbuffers.local_inputs import refuse_special, require_inside
from rlbuffers.optional import require
from rlbuffers.sources.files import in_natural_order, json_object_in, require_file
from rlbuffers.sources.minari.places import METADATA_FILE
from rlbuffers.sources.minari.stored import Kind, Rows, Shapes, Stored

__all__ = ["ArrowPayload"]

_PADDED = ("actions", "rewards", "terminations", "truncations")
_SUFFIXES = (".arrow", ".parquet")
_PURPOSE = "Reading Minari datasets in Arrow or Parquet"


@dataclass(frozen=True)
class _Column:
    """A column without others in it, and the shape of its rows if these are lists."""

    values: Any
    kind: Kind
    shape: tuple[int, ...] = ()


class ArrowPayload:
    """Episodes by number, see `Payload`.

    Parameters
    ----------
    folder : Path
        The dataset's ``data`` folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folders = in_natural_order(path for path in folder.iterdir() if path.is_dir() and path.name.isdigit())
        self.files = [path for inner in self._folders for path in in_natural_order(inner.iterdir()) if path.is_file()]
        for path in self.files:
            require_inside(folder, path)
        self._pyarrow = require("pyarrow", extra="minari", purpose=_PURPOSE)

    def __enter__(self) -> ArrowPayload:
        return self

    def __exit__(self, *raised: Any) -> None:
        """Nothing stays open."""

    @property
    def num_episodes(self) -> int:
        """Number of folders."""
        return len(self._folders)

    @property
    def attributes(self) -> Mapping[str, Any]:
        """There are none."""
        return {}

    def facts(self, number: int) -> dict[str, Any]:
        """Return what the JSON file in an episode's folder says."""
        return json_object_in(require_file(self._folder(number) / METADATA_FILE))

    def stored(self, number: int, shapes: Shapes) -> dict[str, Stored]:
        """Describe the arrays of an episode."""
        return {
            name: Stored(
                column.kind,
                (len(column.values) - _is_padded(name), *column.shape),
                _numbers(column.values[:0]).dtype if column.kind == "numbers" else None,
            )
            for name, column in self._columns(number, shapes)
        }

    def warnings(self) -> list[str]:
        """There are none: a table has all rows that it announces."""
        return []

    def read(self, number: int, names: Sequence[str], shapes: Shapes) -> dict[str, Rows]:
        """Read arrays of an episode."""
        found: dict[str, Rows] = {}
        for name, column in self._columns(number, shapes):
            if name not in names:
                continue
            kept = column.values[:-1] if _is_padded(name) else column.values
            found[name] = kept.to_pylist() if column.kind == "files" else _numbers(kept).reshape(-1, *column.shape)
        return found

    def _folder(self, number: int) -> Path:
        folder = self._folders[number]
        if folder.name != str(number):
            raise FormatError(f"{folder.parent}: expected a folder '{number}' for that episode, which is missing")
        return folder

    def _columns(self, number: int, shapes: Shapes) -> list[tuple[str, _Column]]:
        path = self._file(self._folder(number))
        try:
            table = self._table(path)
            names = table.schema.names
            if len(set(names)) != len(names):
                raise FormatError(f"{path}: expected columns of different names, found {listed(names)}")
            return [
                leaf
                for field in table.schema
                for leaf in self._leaves(table.column(field.name).combine_chunks(), field.name, field, shapes, path)
            ]
        except (self._pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = (str(error) or repr(error)).splitlines()[0]
            raise CorruptDataError(f"{path}: damaged or cut short: {reason}") from error

    def _file(self, folder: Path) -> Path:
        files = in_natural_order(path for path in folder.iterdir() if path.suffix in _SUFFIXES)
        if len(files) != 1:
            raise FormatError(f"{folder}: expected one .arrow or .parquet file, found {len(files)}")
        return refuse_special(files[0])

    def _table(self, path: Path) -> Any:
        if path.suffix == ".arrow":
            ipc = require("pyarrow.ipc", extra="minari", purpose=_PURPOSE)
            with self._pyarrow.memory_map(str(path)) as mapped:
                require_honest_buffers(mapped, path, self._pyarrow)
                table = ipc.open_file(mapped).read_all()
        else:
            parquet = require("pyarrow.parquet", extra="minari", purpose=_PURPOSE)
            with parquet.ParquetFile(path) as file:
                table = require_honest_columns(file, path).read()
        table.validate(full=True)
        return table

    def _leaves(self, values: Any, name: str, field: Any, shapes: Shapes, path: Path) -> Iterator[tuple[str, _Column]]:
        types, kind = self._pyarrow.types, values.type
        if types.is_struct(kind):
            for index, inner in enumerate(values.flatten()):
                part = kind.field(index)
                yield from self._leaves(inner, _inner_name(name, part.name, shapes), part, shapes, path)
        elif values.null_count:
            yield name, _Column(values, "other")
        elif types.is_fixed_size_list(kind) and self._is_number(kind.value_type):
            shape = shapes[name] if name in shapes else _stated_shape(field, kind.list_size)
            if math.prod(shape) != kind.list_size:
                raise FormatError(f"{path}: expected rows of shape {shape} in {name!r}, found {kind.list_size} numbers")
            has_nulls = values.flatten().null_count > 0
            yield name, _Column(values, "other" if has_nulls else "numbers", () if has_nulls else shape)
        elif types.is_binary(kind) or types.is_large_binary(kind):
            yield name, _Column(values, "files")
        else:
            yield name, _Column(values, "numbers" if self._is_number(kind) else "other")

    def _is_number(self, kind: Any) -> bool:
        types = self._pyarrow.types
        return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _is_padded(name: str) -> bool:
    return name.split("/")[0] in _PADDED


def _numbers(values: Any) -> np.ndarray[Any, Any]:
    """Return the numbers of a column or of the lists in it, one after the other."""
    flat = values.flatten() if hasattr(values.type, "list_size") else values
    return np.asarray(flat.to_numpy(zero_copy_only=False))


def _inner_name(name: str, key: str, shapes: Shapes) -> str:
    """Name a part of a struct; those of tuples are numbered here and have a prefix in HDF5 and in the spaces."""
    numbered = f"{name}/_index_{key}"
    is_tuple = any(known == numbered or known.startswith(f"{numbered}/") for known in shapes)
    return numbered if is_tuple else f"{name}/{key}"


def _stated_shape(field: Any, size: int) -> tuple[int, ...]:
    """Return the shape that an info's field states, or that of a plain list."""
    stated = (field.metadata or {}).get(b"shape")
    if stated is None:
        return (size,)
    parts = stated.decode(errors="replace").split(",")
    return tuple(int(part) for part in parts if part.isdigit())
