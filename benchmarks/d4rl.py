"""Convert a D4RL-sized file and export it again: wall time, CPU time, memory, size, and equality of every array.

    .venv/bin/python benchmarks/d4rl.py [--transitions 1000000] [--repeats 3] [--format hdf5]

The file has halfcheetah's columns as D4RL's generating scripts store them: gzip, with the chunks that
h5py chooses. Its numbers are random, which no gzip shrinks much; published files shrink more. Each
run is a process of its own, start-up included. Memory is the peak of the sum of the proportional set
sizes of all its processes, sampled from /proc every 20 ms.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import resource
import statistics
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
from conversion import run_watched

HORIZON = 1000
ROWS_AT_ONCE = 100_000
PACKAGES = ("rlbuffers", "numpy", "h5py", "isal", "deflate", "zarr")


def make_file(path: Path, count: int) -> None:
    """Write a file like halfcheetah-medium-v2, with `count` transitions of random numbers."""
    rng = np.random.default_rng(0)
    ends = np.arange(1, count + 1) % HORIZON == 0
    observations = rng.normal(size=(count, 17)).astype(np.float32)
    following = np.concatenate([observations[1:], observations[:1]])
    following[ends] = rng.normal(size=(int(ends.sum()), 17)).astype(np.float32)
    arrays = {
        "observations": observations,
        "next_observations": following,
        "actions": np.tanh(rng.normal(size=(count, 6))).astype(np.float32),
        "rewards": rng.normal(size=count).astype(np.float32),
        "terminals": np.zeros(count, bool),
        "timeouts": ends,
        "infos/action_log_probs": rng.normal(size=count).astype(np.float32),
        "infos/qpos": rng.normal(size=(count, 9)),
        "infos/qvel": rng.normal(size=(count, 9)),
    }
    with h5py.File(path, "w") as file:
        for name, rows in arrays.items():
            file.create_dataset(name, data=rows, compression="gzip")


def differing_arrays(left: Path, right: Path) -> list[str]:
    """Name the arrays of two files that differ, as plain h5py reads them."""
    wrong = []
    with h5py.File(left) as first, h5py.File(right) as second:

        def compare(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset):
                other = second.get(name)
                same = other is not None and (item.dtype, item.shape) == (other.dtype, other.shape)
                starts = range(0, len(item), ROWS_AT_ONCE) if same else []
                spans = [slice(start, start + ROWS_AT_ONCE) for start in starts]
                if not same or any((item[span] != other[span]).any() for span in spans):
                    wrong.append(name)

        first.visititems(compare)
    return wrong


def measure(name: str, command: list[str], repeats: int) -> None:
    """Run a command several times and print medians."""
    seconds, cpu, peaks = [], [], []
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall, peak = run_watched(command)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(wall)
        peaks.append(peak)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    print(
        f"{name}: {statistics.median(seconds):.1f} s (runs: {', '.join(f'{wall:.1f}' for wall in seconds)}), "
        f"{statistics.median(cpu):.1f} s of CPU, peak memory {max(peaks) / 1e6:,.0f} MB"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transitions", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--format", choices=("hdf5", "zarr"), default="hdf5")
    parser.add_argument("--folder", type=Path, help="where files are written; a temporary one by default")
    args = parser.parse_args()
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in PACKAGES)
    print(f"{os.cpu_count()} cores, {platform.platform(terse=True)}, Python {platform.python_version()}, {versions}")
    program = str(Path(sys.executable).with_name("rlbuffers"))
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        source, buffer, back = (Path(scratch) / name for name in ("in.hdf5", f"buffer.{args.format}", "out.hdf5"))
        make_file(source, args.transitions)
        print(f"{args.transitions:,} transitions, {source.stat().st_size:,} bytes, warm cache")
        measure(
            "convert",
            [program, "convert", "d4rl", "--file", str(source), "-o", str(buffer), "--overwrite"],
            args.repeats,
        )
        measure(
            "export", [program, "export", str(buffer), "--to", "d4rl", "-o", str(back), "--overwrite"], args.repeats
        )
        print(f"exported file: {back.stat().st_size:,} bytes")
        wrong = differing_arrays(source, back)
        if wrong:
            raise SystemExit(f"these arrays differ: {', '.join(wrong)}")
        print("every array came back the same")


if __name__ == "__main__":
    main()
