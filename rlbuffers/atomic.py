"""A path is written whole or not at all, by one process at a time.

The work happens under a hidden sibling of the final path; publishing flushes it to disk and renames it. What stands
beside the path meanwhile is in `hidden_paths.py`, and what becomes of what killed runs left in `leftovers.py`.

Ctrl-C can come between any two steps of Python, also between taking a path and the ``try`` or ``with`` that
gives it back. So what is taken is listed here, and `discard_unpublished` gives back what was missed.

Any call to the system can fail. What is given back is tried twice and file by file, so that one error leaves nothing
behind; an error that names no file gets the name of the path that was being written.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import ParamSpec, TypeVar

from rlbuffers.errors import BufferBusyError, BufferExistsError, NotDurableError
from rlbuffers.hidden_paths import beside, lock_of, partial_of, remove_path, replaced_of
from rlbuffers.leftovers import LOCK_MARK, clean_folder, is_free, is_open_at, remove_left, restore

__all__ = ["AtomicPath", "discard_unpublished", "publish_all", "write_bytes_atomically"]

P = ParamSpec("P")
R = TypeVar("R")

# Whoever only asks whether a path is being written holds its lock for some microseconds.
_LOCK_TRIES = 3
_LOCK_PAUSE_SECONDS = 0.02


class AtomicPath:
    """The right to write one path, taken when made and given back by `publish` or `discard`.

    Parameters
    ----------
    final : Path
        Where the finished file or directory shall stand. Missing parents are made.
    overwrite : bool
        Whether something at `final` may be replaced. It stays in place until the new one is whole.

    Raises
    ------
    BufferExistsError
        If `final` exists and `overwrite` is false.
    BufferBusyError
        If a living process writes the same path.
    """

    def __init__(self, final: Path, *, overwrite: bool = False) -> None:
        self.final = final
        self.overwrite = overwrite
        self.partial = partial_of(final)
        self._lock_path = lock_of(final)
        self._replaced = replaced_of(final)
        self._lock = -1
        self._refuse_existing()
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _interrupts_held_back():
                self._lock = self._take_lock()
                _unpublished.append(self)
            remove_left(final)
            self._refuse_existing()
            clean_folder(final.parent)
        except BaseException:
            self.discard()
            raise

    def _refuse_existing(self) -> None:
        if self.final.exists() and not self.overwrite:
            raise BufferExistsError(f"{self.final}: exists already; pass --overwrite (overwrite=True) to replace it")

    def _take_lock(self) -> int:
        refused = 0
        while True:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = _named(self.final, os.open, self._lock_path, flags, 0o644)
            try:
                # A former owner may have removed the file between our open and our lock.
                free = is_free(descriptor)
                if free and is_open_at(descriptor, self._lock_path):
                    _named(self.final, self._mark, descriptor)
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
            refused += not free
            if refused == _LOCK_TRIES:
                raise BufferBusyError(f"{self.final}: another process is writing it; wait for it or stop it")
            if not free:
                time.sleep(_LOCK_PAUSE_SECONDS)

    def _mark(self, descriptor: int) -> None:
        """Write whose lock it is: without that, nobody would clean after this process."""
        if os.fstat(descriptor).st_size:
            return  # of a killed run, or of another program
        try:
            os.pwrite(descriptor, LOCK_MARK, 0)
        except BaseException:
            self._lock_path.unlink(missing_ok=True)
            raise

    def publish(self) -> None:
        """Flush the partial path to disk and give it its final name.

        Raises
        ------
        BufferExistsError
            If something appeared at the final path since and overwriting was not asked for.
        NotDurableError
            If all is written and under its name, but the folder could not be flushed.
        """
        publish_all([self])

    def _rename(self) -> None:
        if self.final.exists():
            self._make_way()
        _named(self.final, os.rename, self.partial, self.final)

    def _make_way(self) -> None:
        if not self.overwrite:
            raise BufferExistsError(f"{self.final}: appeared while it was being written; nothing was replaced")
        if self.final.is_dir() or self.partial.is_dir():  # only a file is replaced by the rename itself
            _named(self.final, os.rename, self.final, self._replaced)

    def _take_back(self) -> None:
        """Make a rename undone, for one of several paths that are published together; what it replaced comes back."""
        if not self.overwrite or self._replaced.exists():
            _try_twice(os.rename, self.final, self.partial)

    def discard(self) -> None:
        """Remove what was not published and let others write. Calling it twice does no harm.

        What cannot be removed stays for the next run. If an error that names no file is being handled, the error gets
        the final path.
        """
        if self._lock < 0:
            return
        error = sys.exc_info()[1]
        if isinstance(error, OSError) and error.errno and error.filename is None:
            error.filename = str(self.final)
        _try_twice(restore, self.final, self._replaced)
        for path in (self.partial, *beside(self.partial)):
            _try_twice(remove_path, path)
        self.leave()

    def leave(self) -> None:
        """Let others write, and leave what was not published where it is."""
        with _interrupts_held_back():
            if self._lock < 0:
                return
            _try_twice(self._lock_path.unlink, True)
            with suppress(OSError):
                os.close(self._lock)
            self._lock = -1
            _unpublished.remove(self)


def publish_all(targets: Sequence[AtomicPath]) -> None:
    """Flush several paths to disk and give them their names: all or, if one of them cannot get it, none.

    A path that replaces a file is not taken back.

    Raises
    ------
    BufferExistsError, NotDurableError
        See `AtomicPath.publish`.
    """
    renamed: list[AtomicPath] = []
    try:
        for target in targets:
            _sync_tree(target.partial)
        try:
            for target in targets:
                target._rename()
                renamed.append(target)
        except BaseException:
            for target in renamed:
                target._take_back()
            raise
        try:
            for folder in {target.final.parent for target in targets}:
                _sync(folder)
        except OSError as error:
            names = ", ".join(str(target.final) for target in targets)
            raise NotDurableError(
                f"{names}: written, and whole; but its folder could not be flushed to disk "
                f"({error.strerror or error}), so it may be gone after a power cut. Check the disk, and then the output"
            ) from error
    finally:
        for target in targets:
            target.discard()


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


def _try_twice(call: Callable[..., object], *arguments: object) -> None:
    """Call what gives something back; what fails twice is left to the next run."""
    for _ in range(2):
        with suppress(OSError):
            call(*arguments)
            return


def _named(path: Path, call: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R:
    """Call the system; an error names the path that the user knows."""
    try:
        return call(*arguments, **options)
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def _sync_tree(path: Path) -> None:
    if path.is_dir():
        for child in path.iterdir():
            _sync_tree(child)
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _named(path, os.fsync, descriptor)
    finally:
        _named(path, os.close, descriptor)
