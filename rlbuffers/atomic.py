"""A path is written whole or not at all, by one process at a time.

The work happens under a hidden sibling of the final path; publishing flushes it to disk and renames
it. A lock file that the kernel frees when its owner dies tells a killed run's leftovers, which are
removed, from those of a run that is still going, which are left alone.

Ctrl-C can come between any two steps of Python, also between taking a path and the ``try`` or ``with`` that
gives it back. So what is taken is listed here, and `discard_unpublished` gives back what was missed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rlbuffers.errors import BufferBusyError, BufferExistsError

__all__ = [
    "PARTIAL_SUFFIX",
    "AtomicPath",
    "discard_unpublished",
    "final_of",
    "is_being_written",
    "partial_of",
    "remove_path",
    "write_bytes_atomically",
]

PARTIAL_SUFFIX = ".partial"
# Whoever only asks whether a path is being written holds its lock for some microseconds.
_LOCK_TRIES = 3
_LOCK_PAUSE_SECONDS = 0.02


def partial_of(final: Path) -> Path:
    """Return where the work for a path happens before it is published."""
    return final.with_name(f".{final.name}{PARTIAL_SUFFIX}")


def final_of(partial: Path) -> Path:
    """Return the path that a partial one, ``.NAME.partial`` or ``.NAME.SUFFIX``, would have become."""
    return partial.with_name(partial.name.removeprefix(".").removesuffix(partial.suffix))


def is_being_written(final: Path) -> bool:
    """Whether a living process is writing a path."""
    try:
        descriptor = os.open(_lock_of(final), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock_of(final: Path) -> Path:
    return final.with_name(f".{final.name}.lock")


class AtomicPath:
    """The right to write one path, taken when made and given back by `publish` or `discard`.

    Parameters
    ----------
    final : Path
        Where the finished file or directory shall stand. Missing parents are made.
    overwrite : bool
        Whether something at `final` may be replaced. It stays in place until the new one is whole.
    keep : callable, optional
        Is given `final` when the path is locked, before what a killed run left is removed.

    Raises
    ------
    BufferExistsError
        If `final` exists and `overwrite` is false.
    BufferBusyError
        If a living process writes the same path.
    """

    def __init__(self, final: Path, *, overwrite: bool = False, keep: Callable[[Path], None] | None = None) -> None:
        self.final = final
        self.overwrite = overwrite
        self.partial = partial_of(final)
        self.companions: list[Path] = []  # what goes with the partial path when that goes
        self._lock_path = _lock_of(final)
        self._replaced = final.with_name(f".{final.name}.replaced")
        self._lock = -1
        self._refuse_existing()
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _interrupts_held_back():
                self._lock = self._take_lock()
                _unpublished.append(self)
            if keep is not None:
                keep(final)
            remove_path(self.partial)
            self._restore_replaced()
            self._refuse_existing()
        except BaseException:
            self.discard()
            raise

    def _refuse_existing(self) -> None:
        if self.final.exists() and not self.overwrite:
            raise BufferExistsError(f"{self.final}: exists already; pass --overwrite (overwrite=True) to replace it")

    def _take_lock(self) -> int:
        refused = 0
        while True:
            try:
                descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                error.filename = str(self.final)  # which is what the user named
                raise
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(descriptor)
                refused += 1
                if refused < _LOCK_TRIES:
                    time.sleep(_LOCK_PAUSE_SECONDS)
                    continue
                raise BufferBusyError(f"{self.final}: another process is writing it; wait for it or stop it") from error
            # A former owner may have removed the file between our open and our lock.
            with _ignored_missing():
                if os.fstat(descriptor).st_ino == os.stat(self._lock_path).st_ino:
                    return descriptor
            os.close(descriptor)

    def publish(self) -> None:
        """Flush the partial path to disk and give it its final name.

        Raises
        ------
        BufferExistsError
            If something appeared at the final path since and overwriting was not asked for.
        """
        try:
            _sync_tree(self.partial)
            if self.final.exists():
                self._make_way()
            os.rename(self.partial, self.final)
            _sync(self.final.parent)
        finally:
            self._restore_replaced()
            self.discard()

    def _make_way(self) -> None:
        if not self.overwrite:
            raise BufferExistsError(f"{self.final}: appeared while it was being written; nothing was replaced")
        if self.final.is_dir() or self.partial.is_dir():  # only a file is replaced by the rename itself
            os.rename(self.final, self._replaced)

    def _restore_replaced(self) -> None:
        """Give what made way its name back if nothing has come in its place, also for a killed writer."""
        if self.final.exists():
            remove_path(self._replaced)
        elif self._replaced.exists():
            os.rename(self._replaced, self.final)

    def discard(self) -> None:
        """Remove what was not published and let others write. Calling it twice does no harm."""
        if self._lock < 0:
            return
        for path in (self.partial, *self.companions):
            remove_path(path)
        self.leave()

    def leave(self) -> None:
        """Let others write, and leave what was not published where it is."""
        with _interrupts_held_back():
            if self._lock < 0:
                return
            with _ignored_missing():
                os.unlink(self._lock_path)
            os.close(self._lock)
            self._lock = -1
            _unpublished.remove(self)


_unpublished: list[AtomicPath] = []


def discard_unpublished() -> None:
    """Discard every path that this process has taken and not given back, for a command that was stopped."""
    for target in _unpublished.copy():
        target.discard()


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Let a Ctrl-C that comes within this context act at its end."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield  # Python interrupts the main thread alone
        return
    came: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            handler(*came[0])


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Replace the file at `path` by `content`, or leave it as it was."""
    target = AtomicPath(path, overwrite=True)
    try:
        target.partial.write_bytes(content)
        target.publish()
    finally:
        target.discard()


@contextmanager
def _ignored_missing() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        return


def remove_path(path: Path) -> None:
    """Remove a file, a link or a whole directory, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync_tree(path: Path) -> None:
    if path.is_dir():
        for child in path.iterdir():
            _sync_tree(child)
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
