"""Single calls to the system that fail, also those of libraries in C: a few lines of C, loaded before the others."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["KINDS", "FailingCalls", "loaded_with_failing_calls"]

KINDS = ("open", "write", "read", "fsync", "close", "mkdir", "rename", "unlink", "truncate")
_LOADED = "RLBUFFERS_FAILING_CALLS"


def loaded_with_failing_calls() -> None:
    """Compile the C file and start this script again with it, unless that is done."""
    if _LOADED in os.environ:
        return
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        sys.exit("a C compiler (cc) is needed for calls that fail")
    library = Path(tempfile.mkdtemp(prefix="failing-calls-")) / "failing_calls.so"
    source = Path(__file__).with_suffix(".c")
    subprocess.run([compiler, "-O1", "-w", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    environment = {**os.environ, _LOADED: str(library), "LD_PRELOAD": str(library)}
    code = subprocess.run([sys.executable, *sys.argv], env=environment, check=False).returncode
    shutil.rmtree(library.parent)
    sys.exit(code)


class FailingCalls:
    """What the library shares with the processes that this one forks."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(os.environ[_LOADED])

    def arm(self, kind: str, number: int, error: int, folder: Path) -> None:
        """Let a call of a kind fail once, the number-th on paths below a folder; with 0 they are only counted."""
        self._library.faults_arm(KINDS.index(kind), number, error, os.fsencode(folder))

    def disarm(self) -> None:
        """Let no call fail."""
        self._library.faults_disarm()

    def seen(self, kind: str) -> int:
        """Return how many calls of a kind there were since :meth:`arm`."""
        return int(self._library.faults_seen(KINDS.index(kind)))
