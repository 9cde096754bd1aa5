"""What access patterns cost: random rows, epochs, shuffled blocks, n steps, sequences, priorities.

    .venv/bin/python benchmarks/access_patterns.py [BUFFER] [--batch-size 256] [--seconds 2] [--rounds 3]

Without BUFFER, one of 1,000,000 HalfCheetah-sized transitions is written to a scratch folder. Each pattern is measured
with all columns in RAM and with none (what a buffer larger than RAM has), page cache warm. Prints the median
transitions/s over rounds; sequences count their steps.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode
from rlbuffers.samplers import Priorities, ShuffledBlocks

PATTERNS: dict[str, dict[str, Any]] = {
    "random": {},
    "epochs": {"replacement": False},
    "shuffled blocks": {"blocks": ShuffledBlocks()},
    "prioritized": {"priorities": Priorities()},
    "3-step": {"n_step": 3},
    "sequences of 20": {"sequence_length": 20},
}


def write_example(path: Path, num_episodes: int = 1000, steps: int = 1000) -> Path:
    """Write random transitions with the shapes of HalfCheetah."""
    rng = np.random.default_rng(0)
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations", np.dtype(np.float32), (17,)),
            ColumnSpec("actions", np.dtype(np.float32), (6,)),
            ColumnSpec("rewards", np.dtype(np.float32)),
            ColumnSpec("terminals", np.dtype(np.bool_)),
            ColumnSpec("timeouts", np.dtype(np.bool_)),
        ],
    )
    with rlbuffers.create(path, spec) as writer:
        for _ in range(num_episodes):
            columns = {
                "actions": rng.random((steps, 6), np.float32),
                "rewards": rng.random(steps, np.float32),
                "terminals": np.zeros(steps, np.bool_),
                "timeouts": np.arange(steps) == steps - 1,
            }
            writer.append_episode(Episode(columns, {"observations": rng.random((steps + 1, 17), np.float32)}))
    return path


def transitions_per_second(sampler: Any, steps: int, seconds: float) -> float:
    """Draw for some time, after one batch that warms up."""
    sampler.sample()
    count, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        sampler.sample()
        count += 1
    return count * sampler.batch_size * steps / passed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("buffer", nargs="?", type=Path)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path = args.buffer or write_example(Path(scratch) / "vectors.hdf5")
        print(f"{path}: transitions/s in batches of {args.batch_size}")
        print(f"{'':20}{'in RAM':>14}{'not in RAM':>14}")
        for name, options in PATTERNS.items():
            speeds = []
            for cache in (1 << 34, 0):
                with rlbuffers.open(path, cache=cache) as buffer:
                    steps = options.get("sequence_length", 1)
                    sampler = buffer.sampler(max(args.batch_size // steps, 1), **options)
                    rounds = [transitions_per_second(sampler, steps, args.seconds) for _ in range(args.rounds)]
                    speeds.append(statistics.median(rounds))
            print(f"{name:20}{speeds[0]:>14,.0f}{speeds[1]:>14,.0f}")


if __name__ == "__main__":
    main()
