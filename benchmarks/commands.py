"""Time every command on buffers of a million vector transitions, as processes, with their peak memory.

    .venv/bin/python benchmarks/commands.py [--transitions 1000000] [--repeats 1] [--only subset,merge] [--keep FOLDER]

Two buffers have halfcheetah's columns (17 + 6 float32 of random numbers): one of 1,000-step episodes, one of 25-step
ones, of which there are 40,000. Each command is run as a user runs it, start-up included. Memory is the peak of
the sum of the proportional set sizes of all its processes. A command is added by one line in `COMMANDS`.
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import shlex
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from conversion import run_watched

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, EpisodeBlock

EPISODE_STEPS = {"long": 1000, "short": 25}
ROWS_AT_ONCE = 100_000
MAX_SECONDS, MAX_MEGABYTES = 10, 500
# {in}: the buffer; {part}: a tenth of it; {other}: other values; {damaged}: a byte of it changed; {dir}: a folder of
# buffers; {out}: a name that is free, without suffix.
COMMANDS = [
    "list {dir}",
    "info {in}",
    "show {in} 500000:500010",
    "bench {in}",
    "validate {in}",
    "repair {damaged} -o {out}.hdf5",
    "card {in}",
    "card {in} --croissant",
    "report {in} -o {out}.html",
    "subset {in} --size 100000 -o {out}.hdf5",
    "subset {in} --size 10% --by random -o {out}.hdf5",
    "merge {in} {part} -o {out}.hdf5",
    "merge {in} {part} -o {out}.zarr",
    "split {in} --fractions 0.9,0.1 --names train,test --output-dir {out}",
    "split {in} --parts 10 --output-dir {out}",
    "filter {in} --where 'return > 0' -o {out}.hdf5",
    "filter {in} --where 'mean(abs(actions)) < 0.6 and max(observations[0]) > 2' -o {out}.hdf5",
    "filter {in} --top-returns 0.1 -o {out}.hdf5",
    "repack {in} -o {out}.hdf5 --level 3",
    "repack {in} -o {out}.zarr --level 9",
    "diff {in} {in}",
    "diff {in} {other}",
    "normalize {in} --stats",
    "normalize {in} -o {out}.hdf5",
    "export {in} --to zarr -o {out}.zarr",
]
# These say by another code that they found a difference.
EXIT_CODES = {"diff {in} {other}": 1}


def make_buffer(path: Path, count: int, steps: int) -> None:
    """Write `count` transitions of random numbers in episodes of `steps`."""
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations", np.float32, (17,)),
            ColumnSpec("actions", np.float32, (6,), {"type": "box", "low": -1.0, "high": 1.0}),
            ColumnSpec("rewards", np.float32),
            ColumnSpec("terminals", np.bool_),
            ColumnSpec("timeouts", np.bool_),
        ],
    )
    rng = np.random.default_rng(0)
    with rlbuffers.create(path, spec, {"environment": {"id": "HalfCheetah-v5"}}) as writer:
        for start in range(0, count, ROWS_AT_ONCE):
            rows = min(ROWS_AT_ONCE, count - start)
            lengths = np.full(rows // steps, steps)
            episodes = len(lengths)
            ends = np.arange(1, rows + 1) % steps == 0
            columns = {
                "observations": rng.normal(size=(rows, 17)).astype(np.float32),
                "actions": np.tanh(rng.normal(size=(rows, 6))).astype(np.float32),
                "rewards": rng.normal(size=rows).astype(np.float32),
                "terminals": ends & (rng.random(rows) < 0.5),
                "timeouts": np.zeros(rows, bool),
            }
            columns["timeouts"] = ends & ~columns["terminals"]
            finals = {"observations": rng.normal(size=(episodes, 17)).astype(np.float32)}
            everything = np.ones(episodes, bool)
            writer.append_episodes(EpisodeBlock(columns, finals, lengths, everything, everything))


@contextlib.contextmanager
def workplace(folder: Path | None) -> Iterator[Path]:
    """Give a folder that is removed afterwards, unless one is named."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def prepare(folder: Path, count: int) -> None:
    """Make the buffers that are not there yet."""
    for name, steps in EPISODE_STEPS.items():
        path = folder / f"{name}.hdf5"
        if not path.exists():
            make_buffer(path, count, steps)
            rlbuffers.subset(path, folder / f"{name}-part.hdf5", 0.1)
            rlbuffers.normalize(path, folder / f"{name}-other.hdf5")
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            (folder / f"{name}-damaged.hdf5").write_bytes(content)


def measure(template: str, folder: Path, name: str, repeats: int) -> tuple[float, float]:
    """Return the median wall time in seconds, and the peak memory in megabytes."""
    seconds, peaks = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            places = {
                "in": folder / f"{name}.hdf5",
                "part": folder / f"{name}-part.hdf5",
                "other": folder / f"{name}-other.hdf5",
                "damaged": folder / f"{name}-damaged.hdf5",
                "out": Path(scratch) / "new",
                "dir": folder,
            }
            words = [word.format(**places) for word in shlex.split(template)]
            program = str(Path(sys.executable).with_name("rlbuffers"))
            wall, peak = run_watched([program, *words], exit_code=EXIT_CODES.get(template, 0))
        seconds.append(wall)
        peaks.append(peak)
    return statistics.median(seconds), max(peaks) / 1e6


def main() -> None:
    """Make the buffers, run the commands, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transitions", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--only", help="Commands to run, separated by commas.")
    parser.add_argument("--keep", type=Path, help="Where the buffers are made, and kept.")
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else None
    print(f"{platform.platform()}, Python {platform.python_version()}, {options.transitions:,} transitions")
    print(f"| command | {' | '.join(f'{name}: s | MB' for name in EPISODE_STEPS)} |")
    print(f"| --- |{' ---: | ---: |' * len(EPISODE_STEPS)}")
    slow = []
    with workplace(options.keep) as folder:
        prepare(folder, options.transitions)
        for template in COMMANDS:
            if wanted and template.split()[0] not in wanted:
                continue
            cells = []
            for name in EPISODE_STEPS:
                seconds, megabytes = measure(template, folder, name, options.repeats)
                cells += [f"{seconds:.1f}", f"{megabytes:.0f}"]
                if seconds > MAX_SECONDS or megabytes > MAX_MEGABYTES:
                    slow.append(template)
            print(f"| `{template}` | {' | '.join(cells)} |", flush=True)
    print(f"over {MAX_SECONDS} s or {MAX_MEGABYTES} MB: {', '.join(dict.fromkeys(slow)) or 'none'}")


if __name__ == "__main__":
    main()
