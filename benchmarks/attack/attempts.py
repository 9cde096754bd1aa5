"""What the scripts of this folder share: a command tried on hostile input, and the count of what came of it.

Each attempt runs in a process of its own, forked from one that has loaded the command line, with limits on its time
and memory. A command may *refuse* (one line, exit code 1 or 2), *notice* (it goes on and says what is wrong) or
find nothing (*harmless*: what it made is as it was without the attack, which the script checks). Everything else is a
failure: a traceback, a signal, an exit code without a line, a limit that was passed, or other content in silence.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import os
import pkgutil
import resource
import select
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rlbuffers.conversion
import rlbuffers.decoding
import rlbuffers.sources
import rlbuffers.stores
from rlbuffers_cli.console import console, rows_table
from rlbuffers_cli.main import cli

__all__ = [
    "FAILED",
    "HARMLESS",
    "NOTICED",
    "PATIENCE",
    "REFUSED",
    "Attack",
    "Attempt",
    "attempt",
    "judged",
    "load_sources",
    "main_of",
]

REFUSED, NOTICED, HARMLESS, FAILED = "refused", "noticed", "harmless", "FAILED"
_WORDS = (REFUSED, NOTICED, HARMLESS, FAILED)
# The bounds of docs/formats.md: an answer within seconds, little memory beyond what the data need.
SECONDS, MEGABYTES = 20.0, 300.0
PATIENCE = 4 * SECONDS
"""For attempts that work and do not wait: so long may they take on a machine that is busy."""
_ADDRESS_SPACE = 16 << 30
_PRINTED_EXAMPLES = 20
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True)
class Attempt:
    """How one command ended.

    Attributes
    ----------
    exit_code : int
        As of the process; negative: the signal that ended it.
    output, errors : str
        What it printed.
    seconds : float
        How long it took.
    worked : float
        Seconds of CPU time, which other programs on the machine do not lengthen.
    megabytes : float
        By how much its resident memory grew.
    stopped : bool
        Whether it was killed because it took too long.
    """

    words: tuple[str, ...]
    exit_code: int
    output: str
    errors: str
    seconds: float
    worked: float
    megabytes: float
    stopped: bool

    @property
    def failure(self) -> str | None:
        """What is wrong whatever the command was given, or None."""
        if "Traceback (most recent call last)" in self.errors:
            return f"traceback: {self.errors.strip().splitlines()[-1]}"
        if self.stopped:
            return f"no answer within {self.seconds:.0f} s"
        if self.worked > SECONDS:
            return f"worked {self.worked:.0f} s"
        if self.exit_code < 0:
            return f"ended by {signal.Signals(-self.exit_code).name}"
        if self.megabytes > MEGABYTES:
            return f"took {self.megabytes:.0f} MB"
        if self.exit_code and not self.refused:
            return f"exit code {self.exit_code}, {len(self._error_lines)} lines: {self.errors[-200:]!r}"
        return None

    @property
    def refused(self) -> bool:
        """Whether it ended with one line of why and exit code 1 or 2."""
        return self.exit_code in (1, 2) and len(self._error_lines) == 1

    @property
    def _error_lines(self) -> list[str]:
        usage = ("Usage: ", "Try '")
        return [line for line in self.errors.splitlines() if line.strip() and not line.startswith(usage)]


def attempt(
    words: Sequence[str | Path],
    *,
    seconds: float = SECONDS,
    environment: Mapping[str, str] | None = None,
    before: Callable[[], None] | None = None,
) -> Attempt:
    """Run a command of rlbuffers in a process of its own.

    Parameters
    ----------
    words : sequence of str or Path
        The command line without ``rlbuffers``.
    seconds : float
        After how many seconds it is killed.
    environment : mapping, optional
        Variables set for it.
    before : callable, optional
        Called in the new process before the command, for instance to damage what it will call.
    """
    line = tuple(str(word) for word in words)
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        sys.stdout.flush()
        sys.stderr.flush()
        _LIBC.malloc_trim(0)  # what this process has freed would not count as growth of the other one
        started = time.monotonic()
        process = os.fork()
        if not process:
            _run(line, output.fileno(), errors.fileno(), environment or {}, before)
        began_with = _resident_megabytes()
        stopped = not _ended_within(process, seconds)
        took = time.monotonic() - started
        _, status, usage = os.wait4(process, 0)
        grown = max(0.0, usage.ru_maxrss / 1024 - began_with)
        worked = usage.ru_utime + usage.ru_stime
        code = os.waitstatus_to_exitcode(status)
        return Attempt(line, code, _text(output), _text(errors), took, worked, grown, stopped)


def _run(
    line: tuple[str, ...],
    output: int,
    errors: int,
    environment: Mapping[str, str],
    before: Callable[[], None] | None,
) -> None:
    code = 70
    try:
        os.setpgid(0, 0)  # so that its own processes are stopped with it
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(errors, 2)
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.environ.update(environment)
        if before is not None:
            before()
        cli.main(list(line), prog_name="rlbuffers")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  of a forked process, which must not return
        import traceback

        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _ended_within(process: int, seconds: float) -> bool:
    """Wait until a process has ended; kill it and what it has started after so many seconds."""
    descriptor = os.pidfd_open(process)
    try:
        if select.select([descriptor], [], [], seconds)[0]:
            return True
        with suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        return not select.select([descriptor], [], [])
    finally:
        os.close(descriptor)


def _resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _text(file: object) -> str:
    file.seek(0)  # type: ignore[attr-defined]
    return file.read().decode(errors="replace")  # type: ignore[attr-defined, no-any-return]


def load_sources() -> None:
    """Load what conversions load, so that each attempt neither takes the time nor counts the memory."""
    for package in (rlbuffers.sources, rlbuffers.decoding, rlbuffers.stores, rlbuffers.conversion):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def judged(tried: Attempt, unharmed: Callable[[], bool] | None = None) -> str:
    """Say what came of an attempt: refused, harmless or noticed, or FAILED and why.

    Parameters
    ----------
    tried : Attempt
        What was tried.
    unharmed : callable, optional
        Whether what a command made that went through is as without the attack; False counts as noticed if the
        command said "warning", else as a failure. Without it the command shall refuse.
    """
    if tried.failure is not None:
        return f"{FAILED}: {tried.failure}"
    if tried.exit_code:
        return REFUSED
    if unharmed is None:
        return f"{FAILED}: accepted"
    if unharmed():
        return HARMLESS
    return NOTICED if "arning" in tried.output + tried.errors else f"{FAILED}: other content in silence"


@dataclass
class Attack:
    """A count of attempts of one kind."""

    kind: str
    outcomes: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    failures: list[tuple[str, str]] = field(default_factory=list)
    worst: defaultdict[str, tuple[float, float]] = field(default_factory=lambda: defaultdict(lambda: (0.0, 0.0)))

    def note(self, what: str, outcome: str, tried: Attempt | None = None, how: str = "") -> None:
        """Count an outcome.

        Parameters
        ----------
        what : str
            The row of the table, such as "npz: claimed shapes".
        outcome : str
            As `judged` says.
        tried : Attempt, optional
            For its time and memory.
        how : str
            Which attempt of the row it was, shown with failures.
        """
        word, _, why = outcome.partition(": ")
        self.outcomes[what][word] += 1
        if tried is not None:
            seconds, megabytes = self.worst[what]
            self.worst[what] = max(seconds, tried.seconds), max(megabytes, tried.megabytes)
        if word == FAILED:
            command = " ".join(tried.words) if tried is not None else ""
            self.failures.append((f"{what} {how}".strip(), f"{why} {command}".strip()))

    @property
    def table(self) -> list[list[str]]:
        """A row for each thing that was tried: tries, each outcome, the longest time and the most memory."""
        return [
            [
                what,
                str(counts.total()),
                *(str(counts[word]) for word in _WORDS),
                f"{self.worst[what][0]:.1f}" if what in self.worst else "",
                f"{self.worst[what][1]:.0f}" if what in self.worst else "",
            ]
            for what, counts in self.outcomes.items()
        ]

    @property
    def totals(self) -> dict[str, Any]:
        """The sums over all rows, and the longest time and the most memory of them."""
        counts = sum(self.outcomes.values(), Counter[str]())
        seconds, megabytes = zip(*[(0.0, 0.0), *self.worst.values()], strict=True)
        return {
            "kind": self.kind,
            "tries": counts.total(),
            **{word: counts[word] for word in _WORDS},
            "other": {word: count for word, count in counts.items() if word not in _WORDS},
            "seconds": max(seconds),
            "megabytes": max(megabytes),
        }

    def report(self) -> int:
        """Print the table and the first failures, and return the exit code."""
        names = ["", "tries", REFUSED, NOTICED, HARMLESS, "failures", "longest, s", "most memory, MB"]
        console.print(rows_table(self.kind, names, self.table))
        for what, why in self.failures[:_PRINTED_EXAMPLES]:
            console.print(f"{what}: {why}", markup=False, highlight=False)
        return 1 if self.failures else 0


def main_of(kind: str, description: str | None, run: Callable[[Attack, Path, int], None]) -> None:
    """Read the options of a script of this folder, run it in a temporary folder and exit with 1 if anything failed.

    Parameters
    ----------
    kind : str
        The title of its table.
    description : str, optional
        Its docstring, for ``--help``.
    run : callable
        Is given the count, an empty folder and the seed.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--totals", type=Path, metavar="FILE", help="write the sums as JSON")
    arguments = parser.parse_args()
    attack = Attack(kind)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        with tempfile.TemporaryDirectory() as folder:
            run(attack, Path(folder), arguments.seed)
    finally:  # a script that is stopped shows what it has
        failed = attack.report()
        if arguments.totals is not None:
            arguments.totals.write_text(json.dumps(attack.totals))
    sys.exit(failed)
