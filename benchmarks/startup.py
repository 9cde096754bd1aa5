"""Time to import rlbuffers and to show its help, in fresh interpreters.

Run it as `.venv/bin/python benchmarks/startup.py`.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 15
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import rlbuffers": [sys.executable, "-c", "import rlbuffers"],
    "rlbuffers --help": [str(Path(sys.executable).with_name("rlbuffers")), "--help"],
}


def main() -> None:
    """Measure and print medians."""
    for name, command in COMMANDS.items():
        times = []
        for _ in range(RUNS):
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - started)
        print(f"{name}: {statistics.median(times):.3f} s ({min(times):.3f} to {max(times):.3f}, {RUNS} runs)")


if __name__ == "__main__":
    main()
