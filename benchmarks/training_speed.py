"""Gradient steps a second with the reference's hyperparameters, data loading included, against Tianshou.

    .venv/bin/python benchmarks/training_speed.py BUFFER [BUFFER ...] [--algorithms bcq,cql,...]
        [--peer-python .venv-peers/bin/python]

Each buffer gives the algorithms for its actions: all of `rlbuffers train NAME --preset tianshou`. Ours reads the
buffer from its file, through the loader and the stepper of the trainer. Tianshou, in a process of its own, has the same
transitions in its ReplayBuffer in RAM and the networks of its examples. The two take turns, round by round. Prints
milliseconds a step (medians over rounds) and the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sampling import Peer

import rlbuffers
from rlbuffers_train.algorithms import ALGORITHMS, load_algorithm
from rlbuffers_train.devices import ComputeSettings, set_threads
from rlbuffers_train.problem_of_buffer import problem_of_buffer
from rlbuffers_train.running.steppers import OfflineStepper
from rlbuffers_train.running.stopwatch import Stopwatch
from rlbuffers_train.transition_loader import transition_loader

COLUMNS = ("actions", "rewards", "terminals", "timeouts")
PRESET = "tianshou"
CPU = torch.device("cpu")
WARM_UP = 10  # updates


def data_of(buffer: Any, limit: int) -> dict[str, np.ndarray]:
    """Return what the peer is filled with: the newest frame of each transition, or vectors."""
    observations = ("observations",) if buffer.spec.stack else ("observations", "next_observations")
    count = min(limit, len(buffer))
    blocks = [
        buffer.rows(np.arange(start, min(start + 512, count)), (*observations, *COLUMNS))
        for start in range(0, count, 512)
    ]
    if buffer.spec.stack:
        for block in blocks:
            block["frames"] = block.pop("observations")[:, -1]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def ours(name: str, buffer: Any, settings: ComputeSettings) -> tuple[Callable[[int], float], int, Callable[[], None]]:
    """Return what makes a number of updates and returns the seconds, the batch size, and what ends it."""
    problem = problem_of_buffer(buffer)
    algorithm_class = load_algorithm(name, problem.actions.kind)
    torch.manual_seed(0)
    algorithm = algorithm_class(problem, algorithm_class.presets[PRESET], np.random.default_rng(0), CPU)
    set_threads(problem, algorithm.products)
    algorithm.compute_as(settings)
    sampler = buffer.sampler(
        algorithm.config.batch_size, 0, n_step=algorithm.n_step, gamma=algorithm.gamma, columns=algorithm.columns
    )
    loader = transition_loader(sampler, algorithm.problem, algorithm.gamma, algorithm.device)
    stepper = OfflineStepper(algorithm, loader)

    def run(updates: int) -> float:
        watch = Stopwatch(stepper.time_names)
        started = time.perf_counter()
        for _ in range(updates):
            stepper.advance(watch)
        return time.perf_counter() - started

    return run, algorithm.config.batch_size, loader.close


def names_for(buffer: Any, asked: list[str]) -> list[str]:
    """Return the algorithms for the buffer's actions that have the preset, QR-DQN among them."""
    kind = problem_of_buffer(buffer).actions.kind
    there = [entry.name for entry in ALGORITHMS if entry.actions == kind]
    return [name for name in there if PRESET in load_algorithm(name, kind).presets and (not asked or name in asked)]


def compare(name: str, buffer: Any, args: argparse.Namespace, settings: ComputeSettings) -> str:
    """Let both take turns; return a row of the table."""
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        data = Path(scratch) / "data.npz"
        np.savez(data, **data_of(buffer, args.transitions))
        run, batch_size, close = ours(name, buffer, settings)
        stack.callback(close)
        peer = Peer(args.peer_python, "tianshou_training.py", name, data, batch_size)
        stack.callback(peer.close)
        if not peer.is_ready():
            raise SystemExit(f"Tianshou's {name} does not work here")
        seconds: dict[Callable[[int], float], list[float]] = {run: [], peer: []}
        for side in seconds:
            side(WARM_UP)
        updates = max(round(args.seconds * WARM_UP / run(WARM_UP)), 1)
        for _ in range(args.rounds):
            for side, results in seconds.items():
                results.append(side(updates) / updates)
    mine, theirs = seconds.values()
    ratios = [b / a for a, b in zip(mine, theirs, strict=True)]
    data_name = "frames" if buffer.spec.stack else "vectors"
    milliseconds = [1000 * statistics.median(results) for results in (mine, theirs)]
    return (
        f"{name:8} {data_name:8} {batch_size:6} {milliseconds[0]:9.2f} {milliseconds[1]:9.2f} "
        f"{statistics.median(ratios):7.2f}   {min(ratios):.2f} to {max(ratios):.2f}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("buffers", nargs="+", type=Path)
    parser.add_argument("--algorithms", default="", help="comma-separated; all by default")
    parser.add_argument("--peer-python", default=".venv-peers/bin/python")
    parser.add_argument("--transitions", type=int, default=20_000, help="at most so many in the peer's buffer")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="of ours, about, in each round; as many updates of both"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--precision", default="float32", help="of ours: float32 or bfloat16")
    parser.add_argument("--compile", action="store_true", help="ours, by torch.compile")
    args = parser.parse_args()
    settings = ComputeSettings(precision=args.precision, compile=args.compile)
    print(f"{os.cpu_count()} cores; {args.rounds} rounds of {args.seconds:g} s of ours; ours: {settings}")
    print("algorithm data      batch   ours ms  their ms   ratio   range", flush=True)
    asked = [name for name in args.algorithms.split(",") if name]
    for path in args.buffers:
        with rlbuffers.open(path) as buffer:
            for name in names_for(buffer, asked):
                print(compare(name, buffer, args, settings), flush=True)


if __name__ == "__main__":
    main()
