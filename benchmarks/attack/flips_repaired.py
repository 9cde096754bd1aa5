"""Parts 4 and 5 of flips.py: what `rlbuffers repair` makes of damaged and of interrupted buffers."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

import rlbuffers
from rlbuffers.errors import RlbuffersError
from rlbuffers.repair.repair import RepairReport, repair
from rlbuffers.writing.journal import num_journaled

MISSED = "MISSED"
# The command with a checkpoint at every append, instead of one in 30 seconds.
COMMAND = (
    "from rlbuffers.writing import journal; journal.INTERVAL_SECONDS = 0.0; from rlbuffers_cli.main import main; main()"
)

Rows = dict[str, np.ndarray]


def read_rows(path: Path | str) -> tuple[Rows, np.ndarray]:
    """Return every column, and the rows whose next observation is not known."""
    with rlbuffers.open(path) as buffer:
        return buffer[:], buffer.rows_without_next


def named_rows(ranges: str) -> set[int]:
    """Return the rows that a text such as ``3, 10-12`` names."""
    rows: set[int] = set()
    for piece in ranges.split(", ") if ranges else []:
        first, _, last = piece.partition("-")
        rows |= set(range(int(first), int(last or first) + 1))
    return rows


def compare(report: RepairReport, output: str, expected: Rows) -> str:
    """Hold what was salvaged against the undamaged rows that are not said to be lost."""
    if not rlbuffers.validate(output).ok:
        return f"{MISSED}: what was salvaged is not valid"
    found, unknown = read_rows(output)
    lost = named_rows(report.lost_rows)
    rows = [row for row in range(report.num_rows_kept + report.num_rows_lost) if row not in lost]
    for name, values in found.items():
        known = np.ones(len(rows), bool)
        if name == "next_observations":
            known[unknown] = False
        if len(values) != len(rows) or not np.array_equal(values[known], expected[name][rows][known]):
            return f"{MISSED}: other content than is said"
    return ""


def repair_damaged(
    buffer: Path, folder: Path, times: int, rng: random.Random, damage: Callable[[Path, Path, random.Random], Path]
) -> Counter[str]:
    """Repair copies of a buffer with one changed byte each."""
    expected, _ = read_rows(buffer)
    outcomes = Counter[str]()
    for number in range(times):
        damaged = damage(buffer, folder / f"to-repair{buffer.suffix}", rng)
        output = f"memory:repaired-{buffer.suffix}-{number}"
        try:
            report = repair(damaged, output)
        except RlbuffersError as error:
            outcomes["refused in one line" if "\n" not in str(error) else f"{MISSED}: several lines"] += 1
            continue
        if not report.is_damaged:
            outcomes["harmless" if rlbuffers.validate(damaged).ok else f"{MISSED}: not noticed"] += 1
            continue
        share = report.num_rows_lost / len(expected["rewards"])
        rest = "nothing lost" if not share else "less than 1% lost" if share < 0.01 else "more lost"
        outcomes[compare(report, output, expected) or f"repaired, {rest}"] += 1
    return outcomes


def repair_killed(words: list[str], final: Path, whole: Path, times: int, rng: random.Random) -> Counter[str]:
    """Kill a conversion at random moments and repair what it leaves.

    `words` is the command line that writes `final`; `whole` holds the same rows.
    """
    expected, _ = read_rows(whole)
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", COMMAND, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    seconds = time.perf_counter() - started
    outcomes = Counter[str]()
    for number in range(times):
        shutil.rmtree(final.parent, ignore_errors=True)
        process = begin(words)
        until_begun(process, final)
        time.sleep(rng.uniform(0.0, 1.0) * seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        outcomes[judge_killed(final, f"memory:killed-{final.suffix}-{number}", expected)] += 1
    return outcomes


def begin(words: list[str]) -> subprocess.Popen[bytes]:
    """Start a command with a checkpoint at every append."""
    command = [sys.executable, "-c", COMMAND, *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def until_begun(process: subprocess.Popen[bytes], final: Path) -> None:
    """Wait until the partial buffer is there."""
    while process.poll() is None and not final.with_name(f".{final.name}.partial").exists():
        time.sleep(0.001)


def until_written(process: subprocess.Popen[bytes], final: Path) -> float:
    """Return how long a conversion writes, its start not counted."""
    until_begun(process, final)
    started = time.perf_counter()
    while process.poll() is None and not final.exists():
        time.sleep(0.001)
    seconds = time.perf_counter() - started
    process.wait()
    return seconds


def judge_killed(final: Path, output: str, expected: Rows) -> str:
    """Repair what a killed conversion left, and compare."""
    if final.exists():
        return "ended before it was killed"
    noted = num_journaled(final.with_name(f".{final.name}.partial"))
    try:
        report = repair(final, output)
    except RlbuffersError:
        return (
            f"{MISSED}: {noted} noted transitions were not salvaged" if noted else "killed before its first checkpoint"
        )
    if report.num_rows_kept < noted:
        return f"{MISSED}: transitions were lost that had been noted"
    return compare(report, output, expected) or "all that was noted is salvaged"
