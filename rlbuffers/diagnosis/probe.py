"""Trying things in a process of their own, so that what crashes there is told here in one line."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Outcome", "import_modules", "run_python"]

# TensorFlow on a cold disk takes most of a minute.
_TIMEOUT_SECONDS = 180
_IMPORT = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
_MAX_REASON_LENGTH = 300


@dataclass(frozen=True)
class Outcome:
    """What came of a try.

    Parameters
    ----------
    problem : str
        One line; empty if it worked.
    output : str
        What was printed to standard output.
    """

    problem: str
    output: str = ""


def import_modules(modules: Sequence[str]) -> Outcome:
    """Import modules one after the other in a fresh interpreter."""
    return run_python(["-c", _IMPORT, *modules])


def run_python(words: Sequence[str]) -> Outcome:
    """Run this Python with these words and say how it ended."""
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", *words],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(f"did not end within {_TIMEOUT_SECONDS} s")
    if done.returncode == 0:
        return Outcome("", done.stdout)
    if done.returncode < 0:
        return Outcome(f"crashes ({_signal_name(-done.returncode)})")
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    reason = lines[-1].strip() if lines else f"ends with exit code {done.returncode}"
    return Outcome(reason if len(reason) <= _MAX_REASON_LENGTH else f"{reason[:_MAX_REASON_LENGTH]}…")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
