"""Whether the HDF5 library comes to an end with a file, found out in a process that may crash or never end.

The process starts with the first file (0.2 s), serves all that follow, and ends when it was not asked for a minute.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from rlbuffers.errors import CorruptDataError

__all__ = ["STEP_SECONDS", "Probed", "probed"]

# CPU time of one step, such as reading an attribute or a few hundred texts.
STEP_SECONDS = 5.0
_SERVE = """
import sys
sys.path[:] = sys.argv[2:]
from rlbuffers.sources.hdf5_probe import serve
serve(int(sys.argv[1]))
"""
_NAME_BYTES = 4097


@dataclass(frozen=True)
class Probed:
    """What was found in a file that the library reads to the end.

    Parameters
    ----------
    is_buffer : bool
        Whether it is a buffer of rlbuffers; then nothing else was looked at.
    outside : tuple of (name, what, other file)
        What leads to other files.
    raised : str
        What h5py raised on the way, after which nothing more was looked at; empty if nothing.
    """

    is_buffer: bool = False
    outside: tuple[tuple[str, str, str], ...] = ()
    raised: str = ""


class _Process:
    """The process, and the file in which it announces its steps."""

    def __init__(self) -> None:
        self.step = ""  # the last one that it announced, once it has ended
        self._steps: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        descriptor = self._steps.fileno()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _SERVE, str(descriptor), *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(descriptor,),
            start_new_session=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )

    def ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Return the answer, or None if the process has ended."""
        given, taken = self._process.stdin, self._process.stdout
        if given is None or taken is None:
            return None
        self._steps.truncate(0)
        try:
            given.write(json.dumps(request).encode() + b"\n")
            given.flush()
        except (BrokenPipeError, ValueError):
            return None
        line = taken.readline()
        answer: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
        return answer

    def end(self) -> int:
        """Stop it, and return its exit code: negative is the signal by which it ended before."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            code = 0
        self.step = os.pread(self._steps.fileno(), _NAME_BYTES, 0).partition(b"\0")[0].decode(errors="replace")
        self._steps.close()
        return code


@dataclass
class _Held:
    process: _Process | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


_held = _Held()


def _forget() -> None:
    """Leave the process to the one that started it; a fork may have copied a lock that is taken."""
    global _held
    _abandoned.append(_held)
    _held = _Held()


_abandoned: list[_Held] = []  # so that their pipes are not closed
os.register_at_fork(after_in_child=_forget)


@atexit.register
def _end() -> None:
    process, _held.process = _held.process, None
    if process is not None:
        process.end()


def probed(path: Path) -> Probed:
    """Read the structure of a file, and what stands in its heaps, in the other process.

    Parameters
    ----------
    path : Path
        A file of HDF5.

    Returns
    -------
    Probed
        What was found.

    Raises
    ------
    CorruptDataError
        If the HDF5 library crashed, or did not come to an end, or the file announces what needs too much memory.
    """
    if not sys.executable:  # of a Python inside of another program
        return Probed()
    held = _held
    with held.lock:
        for _ in range(2):  # the process may just have ended, as nobody asked
            if held.process is None:
                held.process = _Process()
            process, finished = held.process, False
            try:
                answer = process.ask({"path": os.path.abspath(path), "seconds": STEP_SECONDS})
                finished = answer is not None
            finally:
                if not finished:
                    held.process = None
                    code = process.end()
            if answer is not None:
                return _understood(answer, path)
            if process.step:
                break
    raise CorruptDataError(_reason(path, process.step, code))


def _understood(answer: dict[str, Any], path: Path) -> Probed:
    if "problem" in answer:
        raise CorruptDataError(f"{path}: {answer['problem']}; the file is damaged")
    outside = tuple((str(name), str(what), str(other)) for name, what, other in answer.get("outside", ()))
    return Probed(bool(answer.get("buffer")), outside, str(answer.get("raised", "")))


def _reason(path: Path, step: str, code: int) -> str:
    if not step:
        return f"{path}: the process that looks into HDF5 files could not be started (exit code {code})"
    if code == -signal.SIGPROF:
        happened = f"did not come to an end within {STEP_SECONDS:g} s of reading {step!r}"
    else:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"exit code {code}"
        happened = f"crashed ({name}) reading {step!r}"
    return f"{path}: the HDF5 library {happened}; the file is damaged. Fetch it again"
