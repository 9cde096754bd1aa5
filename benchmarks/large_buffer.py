"""A buffer of millions of Atari transitions: how fast it opens and samples, and what it takes of memory.

    .venv/bin/python benchmarks/large_buffer.py BUFFER SCRATCH [--rows 500000 5000000] [--format hdf5 zarr]

Makes buffers of so many rows in the folder SCRATCH (some 4 GB for five million; kept there for the next run)
by repeating the frames of BUFFER, a buffer of independent transitions of stacked frames, through the public
writer. Then each is opened in fresh processes, which take turns: time to open, first batch, uniformly random
batches of 32, resident memory at the end. The page cache is warm.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import rlbuffers
from rlbuffers.episode import Transitions
from rlbuffers.schema import FRAMES, NEXT_OBSERVATIONS, OBSERVATIONS

BLOCK = 256  # transitions whose frames fill chunks and blocks of the fingerprint
BATCH = 32


def make(source: Path, target: Path, num_rows: int) -> None:
    """Write a buffer that repeats the source's rows; its frames are encoded once."""
    with rlbuffers.open(source) as buffer, rlbuffers.create(target, buffer.spec) as writer:
        stacked = (OBSERVATIONS, NEXT_OBSERVATIONS)
        names = [name for name in buffer.spec.columns if name not in stacked]
        encoder = writer.encoder_of(FRAMES)
        blocks = []
        for start in range(0, len(buffer) - BLOCK + 1, BLOCK):
            rows = buffer[start : start + BLOCK]
            windows = np.concatenate([rows[OBSERVATIONS], rows[NEXT_OBSERVATIONS][:, -1:]], axis=1)
            frames = encoder.encode(windows.reshape(-1, *windows.shape[2:]))
            blocks.append(Transitions({name: rows[name] for name in names}, windows=frames))
        for number in range(-(-num_rows // BLOCK)):
            writer.append_transitions(blocks[number % len(blocks)])


def measure(path: Path, batches: int) -> None:
    """Open and sample; print what that took as JSON. Runs in a process of its own."""
    started = time.perf_counter()
    buffer = rlbuffers.open(path)
    opened = time.perf_counter()
    sampler = buffer.sampler(BATCH, seed=0)
    sampler.sample()
    first = time.perf_counter()
    for _ in range(batches):
        sampler.sample()
    speeds = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(batches):
            sampler.sample()
        speeds.append(batches * BATCH / (time.perf_counter() - began))
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(
        json.dumps(
            {
                "open": opened - started,
                "first_batch": first - opened,
                "speed": statistics.median(speeds),
                "resident": int(status["VmRSS"].split()[0]) * 1024,
                "peak": int(status["VmHWM"].split()[0]) * 1024,
            }
        )
    )


def main() -> None:
    """Make what is missing, measure in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("buffer", type=Path)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[500_000, 5_000_000])
    parser.add_argument("--format", nargs="+", default=["hdf5", "zarr"])
    parser.add_argument("--batches", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args.buffer, args.batches)
        return
    paths = [args.scratch / f"{args.buffer.stem}-{rows}.{suffix}" for suffix in args.format for rows in args.rows]
    for path, rows in zip(paths, args.rows * len(args.format), strict=True):
        if not path.exists():
            started = time.perf_counter()
            make(args.buffer, path, rows)
            print(f"{path.name}: made in {time.perf_counter() - started:.0f} s", flush=True)
    found: dict[Path, list[dict[str, float]]] = {path: [] for path in paths}
    for _ in range(args.rounds):
        for path in paths:
            command = [
                sys.executable,
                __file__,
                str(path),
                str(args.scratch),
                "--measure",
                "--batches",
                str(args.batches),
            ]
            found[path].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    for path, results in found.items():
        median = {key: statistics.median(result[key] for result in results) for key in results[0]}
        print(
            f"{path.name}: open {median['open'] * 1e3:.0f} ms, first batch {median['first_batch'] * 1e3:.0f} ms, "
            f"{median['speed']:,.0f} transitions/s, resident {median['resident'] / 1e6:,.0f} MB "
            f"(peak {median['peak'] / 1e6:,.0f} MB)"
        )


if __name__ == "__main__":
    main()
