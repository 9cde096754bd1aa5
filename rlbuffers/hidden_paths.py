"""What stands beside a path while it is written.

``.NAME.partial``
    Where the work happens; a journal and others of the writer's files may follow its name.
``.NAME.replaced``
    What stood at the path, while a directory gets its name.
``.NAME.lock``
    Held by the writer as long as it lives.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

__all__ = [
    "JOURNAL_SUFFIX",
    "LOCK_SUFFIX",
    "PARTIAL_SUFFIX",
    "beside",
    "final_of",
    "lock_of",
    "partial_of",
    "remove_path",
    "replaced_of",
]

PARTIAL_SUFFIX = ".partial"
JOURNAL_SUFFIX = ".journal"  # follows a partial path's name; with it, what is there can be salvaged
LOCK_SUFFIX = ".lock"
_REPLACED_SUFFIX = ".replaced"


def partial_of(final: Path) -> Path:
    """Return where the work for a path happens before it is published."""
    return final.with_name(f".{final.name}{PARTIAL_SUFFIX}")


def final_of(partial: Path) -> Path:
    """Return the path that a partial one, ``.NAME.partial`` or ``.NAME.SUFFIX``, would have become."""
    return partial.with_name(partial.name.removeprefix(".").removesuffix(partial.suffix))


def lock_of(final: Path) -> Path:
    """Return the file that the writer of a path locks."""
    return final.with_name(f".{final.name}{LOCK_SUFFIX}")


def replaced_of(final: Path) -> Path:
    """Return where a directory is while the new one gets its name."""
    return final.with_name(f".{final.name}{_REPLACED_SUFFIX}")


def beside(partial: Path) -> list[Path]:
    """Return what stands beside a partial path under names that begin with its own."""
    try:
        names = [name for name in os.listdir(partial.parent) if name.startswith(f"{partial.name}.")]
    except OSError:
        return []
    return [partial.with_name(name) for name in names]


def remove_path(path: Path) -> None:
    """Remove a file, a link or a whole directory, if it is there."""
    if path.is_dir() and not path.is_symlink():
        _remove_folder(path)
    else:
        path.unlink(missing_ok=True)


def _remove_folder(path: Path) -> None:
    """Remove a directory; where too many files are open, with one open directory at a time."""
    try:
        shutil.rmtree(path)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        for name in os.listdir(path):
            remove_path(path / name)
        path.rmdir()
