"""How long a discrete-BCQ update waits for its batch of Atari transitions.

    .venv/bin/python benchmarks/loader_wait.py BUFFER [--updates 150] [--rounds 5]

Trains on BUFFER (stacked frames) with the settings of `rlbuffers train bcq`, once with batches read when they are
asked for and once with each number of threads reading ahead; all take turns, round by round, on one network. Prints
medians over rounds: the share of time waiting for data, and a step's time (wait and update). What reading ahead
takes from the update, where cores are few, is in the second number.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

import numpy as np
import torch

import rlbuffers
from rlbuffers.loading.loader import Loader
from rlbuffers_train.algorithms.bcq_discrete import DiscreteBCQ
from rlbuffers_train.batch import COLUMNS, TransitionBatch, transition_batches
from rlbuffers_train.devices import pick_device, set_threads
from rlbuffers_train.problem_of_buffer import problem_of_buffer


def measured(loader: Loader[TransitionBatch], algorithm: DiscreteBCQ, updates: int) -> tuple[float, float]:
    """Return the share of time spent waiting and the seconds of a step."""
    waited, started = loader.wait_seconds, time.perf_counter()
    for _ in range(updates):
        algorithm.update(next(loader))
    seconds = time.perf_counter() - started
    return (loader.wait_seconds - waited) / seconds, seconds / updates


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("buffer", type=Path)
    parser.add_argument("--updates", type=int, default=150, help="in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[0, 1, 2], help="of the loader; 0 does not read ahead"
    )
    parser.add_argument("--prefetch", type=int, default=4)
    args = parser.parse_args()
    device = pick_device("auto")
    with rlbuffers.open(args.buffer) as buffer:
        problem = problem_of_buffer(buffer)
        set_threads(problem)
        config = DiscreteBCQ.recommended(problem)
        algorithm = DiscreteBCQ(problem, config, np.random.default_rng(0), device)
        loaders = {
            threads: Loader(
                buffer.sampler(config.batch_size, columns=COLUMNS),
                transition_batches(config.gamma, device),
                prefetch=args.prefetch,
                workers=threads,
            )
            for threads in args.threads
        }
        found: dict[int, list[tuple[float, float]]] = {threads: [] for threads in loaders}
        for round_number in range(args.rounds + 1):
            for threads, loader in loaders.items():
                result = measured(loader, algorithm, args.updates)
                if round_number:  # the first one warms up
                    found[threads].append(result)
        for loader in loaders.values():
            loader.close()
    print(
        f"{os.cpu_count()} cores, torch with {torch.get_num_threads()} threads on {device}, batches of "
        f"{config.batch_size} from {len(buffer):,} transitions, {args.rounds} rounds of {args.updates} updates"
    )
    for threads, results in found.items():
        shares, seconds = zip(*results, strict=True)
        name = f"{threads} threads reading ahead" if threads else "read when asked for"
        print(
            f"{name}: waiting {statistics.median(shares):.2%} ({min(shares):.2%} to {max(shares):.2%}), "
            f"{statistics.median(seconds) * 1e3:.1f} ms a step"
        )


if __name__ == "__main__":
    main()
