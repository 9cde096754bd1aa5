"""Let single calls to the system fail, and disks be full, while the commands write.

    python benchmarks/attack/disk.py

1. Each command is run with one call that fails once: open, write, read, fsync, close, mkdir, rename, unlink, truncate,
   on any path of the output's folder; two of the first, the middle and the last call of each kind, with EIO, ENOSPC,
   EDQUOT, EROFS and EACCES by turns. A call in C fails as well as one of Python (failing_calls.c, which needs a C
   compiler).
2. The same on files that may not grow beyond a limit (RLIMIT_FSIZE), as on a disk that is full from then on.

Either the command succeeds and what it wrote is whole; or one line names the output's path, and nothing is left: no
output, no lock, no partial file. Where only the flush of the folder after the rename fails, the output stands, whole,
and the line says so.
"""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from attempts import FAILED, HARMLESS, REFUSED, Attack, Attempt, attempt, main_of
from failing_calls import KINDS, FailingCalls, loaded_with_failing_calls
from work import Work, left_behind, make_works

import rlbuffers

_ERRORS = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
_PLACES = 2  # of the first, the middle and the last call of one kind
_SIZES = (4_096, 30_000)  # bytes; what commands print goes to a file, too
_NOT_DURABLE = "written, and whole"


def outcome(work: Work, tried: Attempt, out: Path) -> str:
    """Say what came of a command whose output was disturbed."""
    if tried.failure is not None:
        return f"{FAILED}: {tried.failure}"
    left = left_behind(out, work.outputs)
    if left:
        return f"{FAILED}: left {', '.join(left)} ({tried.errors.strip()[-200:]})"
    there = [path for path in work.outputs if path.exists()]
    stands = not tried.exit_code or _NOT_DURABLE in tried.errors
    if len(there) != (len(work.outputs) if stands else 0):
        return f"{FAILED}: {len(there)} of {len(work.outputs)} outputs are there ({tried.errors.strip()[-200:]})"
    broken = [path for path in there if path.suffix in (".hdf5", ".zarr", ".zip") and not _is_whole(path, work)]
    if broken:
        return f"{FAILED}: {broken[0].name} is not whole"
    if tried.exit_code and str(out) not in tried.errors:
        return f"{FAILED}: names no file: {tried.errors.strip()[-200:]!r}"
    return REFUSED if tried.exit_code else HARMLESS


def _is_whole(path: Path, work: Work) -> bool:
    return work.name.startswith("export") or rlbuffers.validate(path).ok


def disturb(attack: Attack, what: str, how: str, work: Work, out: Path, before: Callable[[], None]) -> None:
    """Run a command into an empty folder and note what came of it."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    tried = attempt(work.words, before=before)
    attack.note(what, outcome(work, tried, out), tried, f"{work.name}, {how}")


def fail_calls(attack: Attack, works: list[Work], out: Path, seed: int) -> None:
    """Let single calls fail."""
    calls = FailingCalls()
    turn, rng = seed, random.Random(seed)
    for work in works:
        seen = {}
        for kind in KINDS:
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            if not seen:
                calls.arm(kind, 0, 0, out)
                tried = attempt(work.words)
                calls.disarm()
                seen = {each: calls.seen(each) for each in KINDS}
                attack.note("undisturbed", outcome(work, tried, out), tried, work.name)
            places = sorted({1, (seen[kind] + 1) // 2, seen[kind]}) if seen[kind] else []
            for number in rng.sample(places, min(_PLACES, len(places))):
                error = _ERRORS[turn % len(_ERRORS)]
                turn += 1
                how = f"{kind} {number} of {seen[kind]}: {errno.errorcode[error]}"

                def arm(kind: str = kind, number: int = number, error: int = error) -> None:
                    calls.arm(kind, number, error, out)

                disturb(attack, f"one {kind} fails", how, work, out, arm)
                calls.disarm()


def fill_disk(attack: Attack, works: list[Work], out: Path) -> None:
    """Let files not grow beyond some sizes."""
    for work in works:
        for size in _SIZES:

            def limit(size: int = size) -> None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails with EFBIG then
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

            disturb(attack, "files of limited size", f"{size} bytes", work, out, limit)


def run(attack: Attack, folder: Path, seed: int) -> None:
    """Do all of it."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    works = make_works(folder)
    fail_calls(attack, works, folder / "out", seed)
    fill_disk(attack, works, folder / "out")


if __name__ == "__main__":
    loaded_with_failing_calls()
    main_of("Errors of the disk", __doc__, run)
