"""Facts about input files, for the metadata."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError, RlbuffersError
from rlbuffers.local_inputs import read_document, refuse_special, require_regular

__all__ = [
    "file_facts",
    "files_in",
    "finite_object",
    "in_natural_order",
    "json_object_in",
    "natural_key",
    "require_file",
    "require_sha256",
]

_DIGITS = re.compile(r"(\d+)")


def require_file(path: Path) -> Path:
    """Return `path` if it is a file; see `rlbuffers.local_inputs.require_regular`.

    Raises
    ------
    BufferNotFoundError
        If nothing is there.
    FormatError
        If it is something else, such as a directory, a named pipe or a device.
    """
    return require_regular(path)


def json_object_in(path: Path) -> dict[str, Any]:
    """Return what a file says that is there.

    Raises
    ------
    CorruptDataError
        If it is not JSON, or far too long.
    FormatError
        If it is not a JSON object, or not a file.
    """
    try:
        found = json.loads(read_document(path))
    except RlbuffersError:
        raise
    except (ValueError, RecursionError) as error:
        raise CorruptDataError(f"{path}: damaged or cut short: no JSON: {error}") from error
    if not isinstance(found, dict):
        raise FormatError(f"{path}: expected a JSON object")
    return found


def finite_object(values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace numbers that a buffer's metadata have no word for by None, and what is no JSON by its text."""
    return {str(name): _finite(value) for name, value in values.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return finite_object(value)
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def require_sha256(path: Path, expected: str) -> None:
    """Do nothing if a file has this SHA-256.

    Raises
    ------
    CorruptDataError
        If it has another one.
    """
    found = file_facts(path)["sha256"]
    if found != expected.lower():
        raise CorruptDataError(
            f"{path}: expected SHA-256 {expected.lower()}, found {found}; it is damaged, or another version. "
            "Fetch it again"
        )


def file_facts(path: Path) -> dict[str, Any]:
    """Return name, size in bytes and SHA-256 (hexadecimal) of a file, as in ``source.files``."""
    with refuse_special(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": digest}


def in_natural_order(paths: Iterable[Path]) -> list[Path]:
    """Sort paths so that numbers in their names count as numbers: 2 before 10."""
    return sorted(paths, key=lambda path: natural_key(str(path)))


def natural_key(name: str) -> list[tuple[bool, int, str]]:
    """Return a key that sorts names so that numbers in them count as numbers."""
    parts = _DIGITS.split(name)
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def files_in(paths: Sequence[Path], suffixes: tuple[str, ...]) -> list[Path]:
    """Replace each directory by the files in it that have one of the suffixes, in natural order.

    Raises
    ------
    BufferNotFoundError
        If a directory has no such file.
    """
    found: list[Path] = []
    for path in paths:
        inside = (
            in_natural_order(file for file in path.iterdir() if file.suffix in suffixes) if path.is_dir() else [path]
        )
        if not inside:
            raise BufferNotFoundError(f"{path}: there is no {' or '.join(suffixes)} file in this directory")
        found += inside
    return found
