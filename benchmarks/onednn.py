"""Gradient steps a second on vectors, with oneDNN's products and with torch's own, on this processor.

    .venv/bin/python benchmarks/onednn.py [--rounds 7] [--algorithms td3-bc,bcq,il]

The two take turns on 20,000 random transitions in memory (17 numbers seen, 6 done) with the recommended settings. The
time is the process's own, so that others on the machine disturb little; one thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode
from rlbuffers_train.algorithms import load_algorithm
from rlbuffers_train.networks.linear import onednn_as
from rlbuffers_train.problem_of_buffer import problem_of_buffer
from rlbuffers_train.running.steppers import OfflineStepper
from rlbuffers_train.running.stopwatch import Stopwatch
from rlbuffers_train.transition_loader import transition_loader

BUFFER = "memory:onednn"
SIZE, EPISODES, STEPS = (17, 6), 20, 1000
CPU = torch.device("cpu")
CHOICES = ("on", "off")


def write() -> None:
    """Make the transitions."""
    rng = np.random.default_rng(0)
    bounds = {"type": "box", "low": -1.0, "high": 1.0}
    columns = [ColumnSpec("observations", "f4", SIZE[:1]), ColumnSpec("actions", "f4", SIZE[1:], bounds)]
    columns += [ColumnSpec("rewards", "f4"), ColumnSpec("terminals", "?"), ColumnSpec("timeouts", "?")]
    last = np.arange(STEPS) == STEPS - 1
    with rlbuffers.create(BUFFER, BufferSpec("episodes", columns)) as writer:
        for _ in range(EPISODES):
            rows = {"actions": rng.uniform(-1, 1, (STEPS, SIZE[1])).astype("f4"), "terminals": ~last & last}
            rows |= {"rewards": rng.normal(size=STEPS).astype("f4"), "timeouts": last}
            writer.append_episode(Episode(rows, {"observations": rng.normal(size=(STEPS + 1, SIZE[0])).astype("f4")}))


def measure(name: str, rounds: int) -> dict[str, float]:
    """Return the updates a second with each choice."""
    with rlbuffers.open(BUFFER) as buffer:
        problem, algorithm_class = problem_of_buffer(buffer), load_algorithm(name, "box")
        torch.manual_seed(0)
        algorithm = algorithm_class(problem, algorithm_class.recommended(problem), np.random.default_rng(0), CPU)
        sampler = buffer.sampler(
            algorithm.config.batch_size,
            0,
            n_step=algorithm.n_step,
            gamma=algorithm.gamma,
            next_actions=algorithm.needs_next_actions,
            columns=algorithm.columns,
        )
        with transition_loader(sampler, problem, algorithm.gamma, CPU) as loader:
            stepper = OfflineStepper(algorithm, loader)

            def seconds(choice: str, updates: int) -> float:
                watch, started = Stopwatch(stepper.time_names), time.process_time()
                with onednn_as(choice):
                    for _ in range(updates):
                        stepper.advance(watch)
                return (time.process_time() - started) / updates

            for choice in CHOICES:
                seconds(choice, 5)
            updates = max(round(0.5 / seconds("off", 5)), 1)
            found: dict[str, list[float]] = {choice: [] for choice in CHOICES}
            for number in range(rounds):
                for choice in CHOICES if number % 2 else CHOICES[::-1]:
                    found[choice].append(seconds(choice, updates))
    return {choice: 1 / statistics.median(results) for choice, results in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--algorithms", default="td3-bc,bcq,il", help="comma-separated")
    args = parser.parse_args()
    torch.set_num_threads(1)
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    print(
        f"{names[0] if names else 'unknown processor'}, {torch.backends.cpu.get_cpu_capability()}, {torch.__version__}"
    )
    print("algorithm   onednn/s   torch/s   ratio")
    write()
    for name in args.algorithms.split(","):
        speeds = measure(name, args.rounds)
        print(f"{name:10} {speeds['on']:9.1f} {speeds['off']:9.1f} {speeds['on'] / speeds['off']:7.2f}", flush=True)


if __name__ == "__main__":
    main()
