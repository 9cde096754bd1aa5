"""Uniformly random batches from buffers on disk, against Tianshou's ReplayBuffer in RAM.

    .venv/bin/python benchmarks/sampling.py BUFFER [BUFFER ...] [--peer-python .venv-peers/bin/python]

All take turns, round by round, on the same machine; the page cache is warm. Prints the median
transitions/s, the range, and the median of the ratios of each round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

import rlbuffers

PEER = Path(__file__).parent / "peers" / "tianshou_sampling.py"


def newest_frames(path: Path) -> np.ndarray:
    """Return the newest frame of each transition, for the peer's buffer."""
    with rlbuffers.open(path) as buffer:
        blocks = [
            buffer.rows(np.arange(start, min(start + 512, len(buffer))), ["observations"])["observations"][:, -1].copy()
            for start in range(0, len(buffer), 512)
        ]
    return np.concatenate(blocks)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("buffers", nargs="+", type=Path)
    parser.add_argument("--peer-python", default=".venv-peers/bin/python")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--batches", type=int, default=400, help="in each round")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    samplers = {path: rlbuffers.open(path).sampler(args.batch_size, seed=0) for path in args.buffers}
    with tempfile.TemporaryDirectory() as scratch:
        frames = Path(scratch) / "frames.npy"
        np.save(frames, newest_frames(args.buffers[0]))
        command = [args.peer_python, str(PEER), str(frames), str(args.batch_size)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
            if peer.stdin is None or peer.stdout is None:
                raise SystemExit("no pipe to the peer")
            speeds: dict[str, list[float]] = {str(path): [] for path in samplers}
            speeds["Tianshou ReplayBuffer in RAM"] = []
            for round_number in range(args.rounds + 1):
                found = []
                for sampler in samplers.values():
                    started = time.perf_counter()
                    for _ in range(args.batches):
                        sampler.sample()
                    found.append(time.perf_counter() - started)
                peer.stdin.write(f"{args.batches}\n")
                peer.stdin.flush()
                found.append(float(peer.stdout.readline()))
                if round_number:  # the first one warms up
                    for results, seconds in zip(speeds.values(), found, strict=True):
                        results.append(args.batches * args.batch_size / seconds)
            peer.stdin.close()
    print(f"{os.cpu_count()} cores, batches of {args.batch_size}, {args.rounds} rounds of {args.batches} batches")
    reference = list(speeds.values())[-1]
    for name, results in speeds.items():
        ratio = statistics.median(ours / theirs for ours, theirs in zip(results, reference, strict=True))
        print(
            f"{name}: {statistics.median(results):,.0f} transitions/s "
            f"({min(results):,.0f} to {max(results):,.0f}), {ratio:.2f} x Tianshou"
        )


if __name__ == "__main__":
    main()
