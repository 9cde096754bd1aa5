"""The Arrow and Parquet payloads of a Minari dataset: one folder an episode, T + 1 rows each.

Actions, rewards and flags are padded to T + 1 rows; the last one of each is dropped here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.optional import require
from rlbuffers.sources.files import in_natural_order, require_file

__all__ = ["ArrowPayload"]

Array = np.ndarray[Any, Any]
_PADDED = ("actions", "rewards", "terminations", "truncations")
_PURPOSE = "Reading Minari datasets in Arrow or Parquet"


class ArrowPayload:
    """Episodes by number. A context manager.

    Parameters
    ----------
    folder : Path
        The dataset's ``data`` folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folders = in_natural_order(path for path in folder.iterdir() if path.is_dir() and path.name.isdigit())
        self.files = [path for inner in self._folders for path in in_natural_order(inner.iterdir())]
        self.num_episodes = len(self._folders)
        self.attributes: Mapping[str, Any] = {}
        self._pyarrow = require("pyarrow", extra="minari", purpose=_PURPOSE)

    def __enter__(self) -> ArrowPayload:
        return self

    def __exit__(self, *raised: Any) -> None:
        """Nothing stays open."""

    def facts(self, number: int) -> dict[str, Any]:
        """Return what is known of an episode: id, total_steps, seed, options."""
        path = require_file(self._folder(number) / "metadata.json")
        try:
            facts = json.loads(path.read_text())
        except ValueError as error:
            raise CorruptDataError(f"{path}: not JSON: {error}") from error
        if not isinstance(facts, dict):
            raise FormatError(f"{path}: expected a JSON object")
        return facts

    def arrays(self, number: int, shapes: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, Any], list[str]]:
        """Read an episode.

        Parameters
        ----------
        number : int
            Which episode.
        shapes : mapping of name to shape
            Shape of a value of each observation and of the actions, as the spaces say: the file
            holds them flattened.

        Returns
        -------
        dict of name to array, or to a list of bytes for images that are files
        list of str
            Names of what is neither.
        """
        found: dict[str, Any] = {}
        others: list[str] = []
        table = self._table(self._folder(number))
        for name in table.schema.names:
            column = table.column(name).combine_chunks()
            self._flatten(column, name, table.schema.field(name), shapes, found, others)
        cut = {name: rows[:-1] if name.split("/")[0] in _PADDED else rows for name, rows in found.items()}
        return cut, others

    def _folder(self, number: int) -> Path:
        folder = self._folders[number]
        if folder.name != str(number):
            raise FormatError(f"{folder.parent}: expected a folder '{number}' for that episode, which is missing")
        return folder

    def _table(self, folder: Path) -> Any:
        """Read the one file of an episode's rows."""
        pyarrow = self._pyarrow
        files = in_natural_order(path for path in folder.iterdir() if path.suffix in (".arrow", ".parquet"))
        if len(files) != 1:
            raise FormatError(f"{folder}: expected one .arrow or .parquet file, found {len(files)}")
        try:
            if files[0].suffix == ".arrow":
                with pyarrow.memory_map(str(files[0])) as mapped:
                    return require("pyarrow.ipc", extra="minari", purpose=_PURPOSE).open_file(mapped).read_all()
            return require("pyarrow.parquet", extra="minari", purpose=_PURPOSE).read_table(files[0])
        except (pyarrow.ArrowException, OSError) as error:
            raise CorruptDataError(f"{files[0]}: damaged or cut short: {str(error).splitlines()[0]}") from error

    def _flatten(
        self,
        column: Any,
        name: str,
        field: Any,
        shapes: Mapping[str, tuple[int, ...]],
        found: dict[str, Any],
        others: list[str],
    ) -> None:
        types = self._pyarrow.types
        if types.is_struct(column.type):
            parts = column.flatten()
            for index in range(column.type.num_fields):
                inner = column.type.field(index)
                key = f"_index_{inner.name}" if f"{name}/_index_{inner.name}" in shapes else inner.name
                self._flatten(parts[index], f"{name}/{key}", inner, shapes, found, others)
        elif types.is_fixed_size_list(column.type):
            values = column
            while types.is_fixed_size_list(values.type):
                values = values.flatten()
            stated = (field.metadata or {}).get(b"shape", b"").decode()
            shape = shapes.get(name) or tuple(int(size) for size in stated.split(",") if size)
            rows = values.to_numpy(zero_copy_only=False)
            found[name] = rows.reshape(len(column), *(shape or (-1,)))
        elif types.is_binary(column.type) or types.is_large_binary(column.type):
            found[name] = column.to_pylist()
        elif types.is_integer(column.type) or types.is_floating(column.type) or types.is_boolean(column.type):
            rows = column.to_numpy(zero_copy_only=False)
            found[name] = rows.reshape(len(column), *shapes.get(name, ()))
        else:
            others.append(name)
