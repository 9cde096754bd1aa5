"""A path is written whole or not at all, by one process at a time.

The work happens under a hidden sibling of the final path; publishing flushes it to disk and renames
it. A lock file that the kernel frees when its owner dies tells a killed run's leftovers, which are
removed, from those of a run that is still going, which are left alone. Whoever writes into a folder
removes what killed runs left there under other names too, but for what `rlbuffers repair` can salvage.

Ctrl-C can come between any two steps of Python, also between taking a path and the ``try`` or ``with`` that
gives it back. So what is taken is listed here, and `discard_unpublished` gives back what was missed.

Any call to the system can fail. What is given back is tried twice and file by file, so that one error leaves nothing
behind; an error that names no file gets the name of the path that was being written.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from rlbuffers.errors import BufferBusyError, BufferExistsError, NotDurableError

__all__ = [
    "JOURNAL_SUFFIX",
    "PARTIAL_SUFFIX",
    "AtomicPath",
    "discard_unpublished",
    "final_of",
    "is_being_written",
    "partial_of",
    "publish_all",
    "remove_path",
    "write_bytes_atomically",
]

PARTIAL_SUFFIX = ".partial"
JOURNAL_SUFFIX = ".journal"  # follows a partial path's name; with it, what is there can be salvaged
_LOCK_SUFFIX = ".lock"
_REPLACED_SUFFIX = ".replaced"
_OURS = b"a lock of rlbuffers\n"  # in a lock file, to tell it from those of other programs
_logger = logging.getLogger(__name__)
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
    return final.with_name(f".{final.name}{_LOCK_SUFFIX}")


def _replaced_of(final: Path) -> Path:
    return final.with_name(f".{final.name}{_REPLACED_SUFFIX}")


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
        self._replaced = _replaced_of(final)
        self._lock = -1
        self._refuse_existing()
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _interrupts_held_back():
                self._lock = self._take_lock()
                _unpublished.append(self)
            if keep is not None:
                keep(final)
            for left in (self.partial, *_beside(self.partial)):
                remove_path(left)
            _restore(self.final, self._replaced)
            self._refuse_existing()
            _clean_folder(final.parent)
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
            if not _is_free(descriptor):
                os.close(descriptor)
                refused += 1
                if refused < _LOCK_TRIES:
                    time.sleep(_LOCK_PAUSE_SECONDS)
                    continue
                raise BufferBusyError(f"{self.final}: another process is writing it; wait for it or stop it")
            # A former owner may have removed the file between our open and our lock.
            if _is_at(descriptor, self._lock_path):
                with suppress(OSError):  # what is not marked is recognised by what stands beside it
                    os.write(descriptor, _OURS)
                return descriptor
            os.close(descriptor)

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
        _try_twice(_restore, self.final, self._replaced)
        for path in (self.partial, *_beside(self.partial), *self.companions):
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


def _is_free(descriptor: int) -> bool:
    """Whether nobody holds a lock; then it is ours until the descriptor is closed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether a path is still the file that was opened."""
    try:
        return os.fstat(descriptor).st_ino == os.stat(path).st_ino
    except FileNotFoundError:
        return False


def _beside(partial: Path) -> list[Path]:
    """Return what stands beside a partial path under names that begin with its own, but for a journal's files."""
    try:
        names = [name for name in os.listdir(partial.parent) if name.startswith(f"{partial.name}.")]
    except OSError:
        return []
    journaled = (JOURNAL_SUFFIX, ".tail", ".tail.new")
    return [partial.with_name(name) for name in names if name.removeprefix(partial.name) not in journaled]


def _clean_folder(folder: Path) -> None:
    """Remove what killed runs left in a folder, and say so; what a living one writes is locked."""
    with suppress(OSError):
        names = [name for name in os.listdir(folder) if name.startswith(".") and name.endswith(_LOCK_SUFFIX)]
        for name in names:
            with suppress(OSError):  # another's, or just removed: not what this run is about
                _clean_after(folder / name[1 : -len(_LOCK_SUFFIX)])


def _clean_after(final: Path) -> None:
    lock, partial, replaced = _lock_of(final), partial_of(final), _replaced_of(final)
    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        if not _is_free(descriptor) or not _is_at(descriptor, lock):
            return
        found = [path for path in (partial, *_beside(partial)) if os.path.lexists(path)]
        if os.read(descriptor, len(_OURS)) != _OURS and not (found or replaced.exists()):
            return
        _restore(final, replaced)
        if partial.with_name(partial.name + JOURNAL_SUFFIX).exists():
            found = []  # `rlbuffers repair` makes a buffer of it
        for path in found:
            remove_path(path)
        lock.unlink()
        if found:
            _logger.warning("%s: what a killed run had begun to write there was removed", final)
    finally:
        os.close(descriptor)


def _restore(final: Path, replaced: Path) -> None:
    """Give what made way its name back if nothing has come in its place, also for a killed writer."""
    if final.exists():
        remove_path(replaced)
    elif replaced.exists():
        os.rename(replaced, final)


def _try_twice(call: Callable[..., object], *arguments: object) -> None:
    """Call what gives something back; what fails twice is left to the next run."""
    for _ in range(2):
        with suppress(OSError):
            call(*arguments)
            return


def _named(path: Path, call: Callable[..., object], *arguments: object) -> None:
    """Call the system; an error names the path that the user knows."""
    try:
        call(*arguments)
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


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
        _named(path, os.fsync, descriptor)
    finally:
        _named(path, os.close, descriptor)
