"""Uniformly random batches from buffers on disk and from their cache in RAM, against other libraries.

    .venv/bin/python benchmarks/sampling.py BUFFER [BUFFER ...] [--peer-python .venv-peers/bin/python]

The buffers hold the same transitions, of stacked frames (batches of 32) or of vectors (batches of 256); the
page cache is warm. All take turns, round by round, on the same machine. Prints the median transitions/s, the
range, and for each peer the median of the ratios of each round. `--peers ''` measures ours alone.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import rlbuffers

HERE = Path(__file__).parent / "peers"
# Name: script, variant, kinds of data, what it is.
PEERS = {
    "tianshou": ("tianshou_sampling.py", "", "Tianshou ReplayBuffer in RAM"),
    "torchrl-memmap": ("torchrl_sampling.py", "memmap", "TorchRL LazyMemmapStorage"),
    "torchrl-tensor": ("torchrl_sampling.py", "tensor", "TorchRL LazyTensorStorage in RAM"),
    "cpprb": ("cpprb_sampling.py", "", "cpprb ReplayBuffer in RAM"),
    "d3rlpy": ("d3rlpy_sampling.py", "", "d3rlpy ReplayBuffer in RAM"),
}
NAMES = ("observations", "next_observations", "actions", "rewards")
ENDS = ("terminals", "timeouts")  # which the peers hold too


def data_of(path: Path, limit: int) -> dict[str, np.ndarray]:
    """Return what the peers are filled with: the newest frame of each transition, or the columns."""
    with rlbuffers.open(path) as buffer:
        count = min(limit, len(buffer))
        blocks = [buffer.rows(np.arange(start, min(start + 512, count)), NAMES) for start in range(0, count, 512)]
        if buffer.spec.stack:
            return {"frames": np.concatenate([block["observations"][:, -1] for block in blocks])}
        return {name: np.concatenate([block[name] for block in blocks]) for name in NAMES}


def ours(path: Path, cache: str | int, batch_size: int) -> Callable[[int], float]:
    """Return a function that samples a number of batches and returns the seconds."""
    buffer = rlbuffers.open(path, cache=cache)
    columns = [*NAMES, *(name for name in ENDS if name in buffer.spec.columns)]
    sampler = buffer.sampler(batch_size, seed=0, columns=columns)

    def run(batches: int) -> float:
        started = time.perf_counter()
        for _ in range(batches):
            sampler.sample()
        return time.perf_counter() - started

    return run


def compressed_budget(path: Path) -> int:
    """Return a budget that holds the frames as they are stored, and all else decoded."""
    with rlbuffers.open(path, cache=0) as buffer:
        arrays = [rows.array for rows in buffer.arrays.values()]
        rest = sum(array.nbytes for array in arrays if array.name not in ("frames", "stack_index"))
        return rest + buffer.store_disk_bytes


class Peer:
    """Another library in a process of its own environment."""

    def __init__(self, python: str, script: str, variant: str, data: Path, batch_size: int) -> None:
        command = [
            python,
            "-W",
            "ignore",
            str(HERE / script),
            str(data),
            str(batch_size),
            *([variant] if variant else []),
        ]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def is_ready(self) -> bool:
        """Wait until it is filled; False if it failed."""
        while line := self._process.stdout.readline():
            if line == "ready\n":
                return True
        print(self._process.stderr.read().strip().splitlines()[-1:], flush=True)
        return False

    def __call__(self, batches: int) -> float:
        """Sample a number of batches and return the seconds."""
        self._process.stdin.write(f"{batches}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """Let it end."""
        self._process.communicate()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("buffers", nargs="+", type=Path)
    parser.add_argument("--peer-python", default=".venv-peers/bin/python")
    parser.add_argument("--peers", default=",".join(PEERS), help="comma-separated; all by default")
    parser.add_argument("--transitions", type=int, default=10_000, help="at most so many in each peer (frames)")
    parser.add_argument("--batches", type=int, help="in each round; by default 200 of frames, 2,000 of vectors")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    with rlbuffers.open(args.buffers[0]) as buffer:
        is_frames = bool(buffer.spec.stack)
    batch_size = 32 if is_frames else 256
    args.batches = args.batches or (200 if is_frames else 2000)
    runs: dict[str, Callable[[int], float]] = {}
    for path in args.buffers:
        # Columns are kept in RAM in any case, so of vectors there is nothing to read from the file.
        if is_frames:
            runs[f"{path.name}, frames from the file"] = ours(path, "4MB", batch_size)
            runs[f"{path.name}, frames compressed in RAM"] = ours(path, compressed_budget(path), batch_size)
        runs[f"{path.name}, decoded cache"] = ours(path, "16GB", batch_size)
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        data = Path(scratch) / "data.npz"
        np.savez(data, **data_of(args.buffers[0], args.transitions if is_frames else 200_000))
        peers = [name for name in args.peers.split(",") if name]
        for name in peers:
            script, variant, title = PEERS[name]
            peer = Peer(args.peer_python, script, variant, data, batch_size)
            stack.callback(peer.close)
            if peer.is_ready():
                runs[title] = peer
            else:
                print(f"{name} does not work here and is left out", flush=True)
        speeds: dict[str, list[float]] = {name: [] for name in runs}
        for round_number in range(args.rounds + 2):
            for name, run in runs.items():
                seconds = run(args.batches)
                if round_number > 1:  # the first ones warm up and fill the cache
                    speeds[name].append(args.batches * batch_size / seconds)
    report(speeds, batch_size, args)


def report(speeds: dict[str, list[float]], batch_size: int, args: argparse.Namespace) -> None:
    """Print a table: speeds, and how many times as fast as each peer."""
    peers = [name for _, _, name in PEERS.values() if name in speeds]
    print(f"{os.cpu_count()} cores, batches of {batch_size}, {args.rounds} rounds of {args.batches} batches")
    for name, results in speeds.items():
        ratios = [
            f"{statistics.median(a / b for a, b in zip(results, speeds[peer], strict=True)):.2f} x {peer.split()[0]}"
            f"{' ' + peer.split()[1] if peer.startswith('TorchRL') else ''}"
            for peer in peers
            if name not in peers
        ]
        print(f"{name}: {statistics.median(results):,.0f} transitions/s ({min(results):,.0f} to {max(results):,.0f})")
        if ratios:
            print(f"    {', '.join(ratios)}")


if __name__ == "__main__":
    main()
