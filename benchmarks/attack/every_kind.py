"""Run the scripts of this folder one after the other, and print their sums as a table of Markdown.

    .venv/bin/python benchmarks/attack/every_kind.py [KIND ...]

KIND is the name of a script, such as bombs; all of them unless named. The exit code is 1 if anything failed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
KINDS = (
    "links",
    "bombs",
    "flips",
    "source_flips",
    "hdf5",
    "metadata",
    "checkpoints",
    "kills",
    "disk",
    "descriptors",
    "servers",
)


def main() -> None:
    """Run what the command line names, or all."""
    rows, failed = [], False
    with tempfile.TemporaryDirectory() as folder:
        for kind in sys.argv[1:] or KINDS:
            totals, started = Path(folder, f"{kind}.json"), time.monotonic()
            done = subprocess.run([sys.executable, HERE / f"{kind}.py", "--totals", totals], check=False)
            failed = failed or done.returncode != 0
            rows.append(row_of(kind, json.loads(totals.read_text()), time.monotonic() - started))
    print("| script | tries | refused | noticed | harmless | failures | longest, s | most memory, MB | script, min |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    print("\n".join(rows))
    sys.exit(failed)


def row_of(kind: str, found: dict[str, object], seconds: float) -> str:
    """Return a row of the table."""
    counts = " | ".join(f"{found[key]:,}" for key in ("tries", "refused", "noticed", "harmless", "FAILED"))
    others = "".join(f"; {count:,} {word}" for word, count in dict(found["other"]).items())  # type: ignore[call-overload]
    name = f"`{kind}.py`{others}"
    return f"| {name} | {counts} | {found['seconds']:.1f} | {found['megabytes']:.0f} | {seconds / 60:.1f} |"


if __name__ == "__main__":
    main()
