"""What becomes of what killed writers left.

The kernel frees a lock when its owner dies: what belongs to a lock that nobody holds is a leftover. Whoever writes into
a folder removes those of other names there too, but for what `rlbuffers repair` can salvage, and what has no lock with
the mark of this library.
"""

from __future__ import annotations

import fcntl
import logging
import os
from contextlib import suppress
from pathlib import Path

from rlbuffers.errors import CorruptDataError
from rlbuffers.hidden_paths import JOURNAL_SUFFIX, LOCK_SUFFIX, beside, lock_of, partial_of, remove_path, replaced_of

__all__ = ["LOCK_MARK", "clean_folder", "is_being_written", "is_free", "is_open_at", "remove_left", "restore"]

LOCK_MARK = b"a lock of rlbuffers\n"  # in a lock file, to tell it from those of other programs
_logger = logging.getLogger(__name__)


def is_being_written(final: Path) -> bool:
    """Whether a living process is writing a path."""
    try:
        descriptor = os.open(lock_of(final), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def is_free(descriptor: int) -> bool:
    """Whether nobody holds a lock; then it is ours until the descriptor is closed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_open_at(descriptor: int, path: Path) -> bool:
    """Whether a path is still the file that was opened."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def restore(final: Path, replaced: Path) -> None:
    """Give what made way its name back if nothing has come in its place, also for a killed writer."""
    if final.exists():
        remove_path(replaced)
    elif replaced.exists():
        os.rename(replaced, final)


def remove_left(final: Path) -> None:
    """Remove what a killed writer of a path left; what can be salvaged is moved aside. The caller holds the lock."""
    partial = partial_of(final)
    if _has_journal(partial):
        from rlbuffers.writing.journal import keep_interrupted  # which knows more than most writers need

        keep_interrupted(final)
    for left in (partial, *beside(partial)):
        remove_path(left)
    restore(final, replaced_of(final))


def clean_folder(folder: Path) -> None:
    """Remove what killed writers left in a folder, and say so; what a living one writes is locked."""
    with suppress(OSError):
        names = [name for name in os.listdir(folder) if name.startswith(".") and name.endswith(LOCK_SUFFIX)]
        for name in names:
            with suppress(OSError):  # another's, or just removed: not what this run is about
                _clean_after(folder / name[1 : -len(LOCK_SUFFIX)])


def _clean_after(final: Path) -> None:
    lock, partial = lock_of(final), partial_of(final)
    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        is_ours = os.read(descriptor, len(LOCK_MARK)) == LOCK_MARK
        # Held until the end, so that no writer of the path begins meanwhile.
        if not is_ours or not is_free(descriptor) or not is_open_at(descriptor, lock):
            return
        restore(final, replaced_of(final))
        count = _num_salvageable(partial)
        found = [path for path in (partial, *beside(partial)) if os.path.lexists(path)]
        if count is None:
            for path in found:
                remove_path(path)
        lock.unlink()
    finally:
        os.close(descriptor)
    if count is not None:
        _logger.warning("%s: a killed run left %s; rlbuffers repair makes a buffer of them", final, count)
    elif found:
        _logger.warning("%s: what a killed run had begun to write there was removed", final)


def _has_journal(partial: Path) -> bool:
    return partial.exists() and partial.with_name(partial.name + JOURNAL_SUFFIX).exists()


def _num_salvageable(partial: Path) -> str | None:
    """Say how many transitions of a partial buffer can be salvaged, or return None if that is none."""
    if not _has_journal(partial):
        return None
    from rlbuffers.writing.journal import num_journaled

    try:
        count = num_journaled(partial)
    except CorruptDataError:  # of another version, which may know more of it
        return "transitions"
    return f"{count:,} transitions" if count else None
