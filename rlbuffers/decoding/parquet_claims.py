"""How many values a Parquet file announces, compared with what is stored, before pyarrow makes room for them.

Numbers that are all alike take no bytes at all in a Parquet file, so a file of a kilobyte may hold a list of a hundred
million. The counts stand in the footer, column by column.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlbuffers.decoding.claims import FREE_BYTES, STREAM_GROWTH, most_bytes, require_room

__all__ = ["FREE_COLUMN_BYTES", "FREE_OBJECTS", "require_few_values", "require_honest_columns"]

FREE_COLUMN_BYTES = 2 * FREE_BYTES
"""What a column of a row group may become, however small the file is."""
FREE_OBJECTS = 2_000_000
"""How many values of a document (a list of episodes) become Python objects, however small the file is."""
_BYTES = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT96": 12}
_OTHER_BYTES = 8


def require_honest_columns(file: Any, path: Path) -> Any:
    """Return an open ``pyarrow.parquet.ParquetFile`` unless a column is larger than the file can honestly hold.

    Raises
    ------
    CorruptDataError
        See `rlbuffers.decoding.claims.require_room`.
    """
    most = most_bytes(path, STREAM_GROWTH, FREE_COLUMN_BYTES)
    metadata = file.metadata
    for group in range(metadata.num_row_groups):
        described = metadata.row_group(group)
        for number in range(described.num_columns):
            column = described.column(number)
            size = max(
                column.num_values * _BYTES.get(column.physical_type, _OTHER_BYTES), column.total_uncompressed_size
            )
            if size > most:
                require_room(size, most, f"{path}: column {column.path_in_schema!r:.100}")
    return file


def require_few_values(file: Any, path: Path) -> Any:
    """Return an open file unless it has too many values to make a Python object of each.

    Raises
    ------
    CorruptDataError
        If it has more than `FREE_OBJECTS`, and than bytes.
    """
    metadata = require_honest_columns(file, path).metadata
    groups = (metadata.row_group(group) for group in range(metadata.num_row_groups))
    count = sum(group.column(number).num_values for group in groups for number in range(group.num_columns))
    require_room(count, most_bytes(path, 1, FREE_OBJECTS), f"{path}: {count:,} values")
    return file
