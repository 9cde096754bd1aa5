"""What the journal of a writer costs: the time of a checkpoint, and its share of the 30 seconds between two.

    .venv/bin/python benchmarks/journal.py

Writes a million vector transitions, and stacked frames, with a checkpoint at every append that is timed. The last
checkpoints are the dearest: places of all chunks so far are asked for.
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
from rlbuffers.writing import journal
from rlbuffers.writing.checkpoints import Checkpoints
from rlbuffers.writing.journal import INTERVAL_SECONDS

VECTORS = rlbuffers.BufferSpec(
    "episodes",
    [
        rlbuffers.ColumnSpec("observations", np.dtype(np.float32), (17,)),
        rlbuffers.ColumnSpec("actions", np.dtype(np.float32), (6,)),
        rlbuffers.ColumnSpec("rewards", np.dtype(np.float32)),
        rlbuffers.ColumnSpec("terminals", np.dtype(np.bool_)),
    ],
)
FRAMES = rlbuffers.BufferSpec(
    "episodes",
    [
        rlbuffers.ColumnSpec("observations", np.dtype(np.uint8), (4, 84, 84)),
        rlbuffers.ColumnSpec("actions", np.dtype(np.int64)),
        rlbuffers.ColumnSpec("rewards", np.dtype(np.float32)),
        rlbuffers.ColumnSpec("terminals", np.dtype(np.bool_)),
    ],
    stack=4,
)


class Timed(Checkpoints):
    """Notes how long each checkpoint takes."""

    seconds: list[float]

    def take(self, *arguments: Any) -> None:
        """See base class."""
        started = time.perf_counter()
        super().take(*arguments)
        self.seconds.append(time.perf_counter() - started)


def episode(spec: rlbuffers.BufferSpec, steps: int, rng: np.random.Generator) -> rlbuffers.Episode:
    """Return an episode of random vectors, or of frames that compress as a game's do."""
    columns: dict[str, Any] = {
        "actions": rng.normal(size=(steps, 6)).astype(np.float32) if not spec.stack else np.zeros(steps, np.int64),
        "rewards": rng.normal(size=steps).astype(np.float32),
        "terminals": np.arange(steps) == steps - 1,
    }
    if not spec.stack:
        return rlbuffers.Episode(columns, {"observations": rng.normal(size=(steps + 1, 17)).astype(np.float32)})
    frames = np.zeros((steps + 4, 84, 84), np.uint8)
    frames[:, 20:40] = rng.integers(0, 256, (steps + 4, 1, 84))
    return rlbuffers.Episode(columns, {"frames": frames})


def measure(path: Path, spec: rlbuffers.BufferSpec, episodes: int, steps: int) -> tuple[list[float], float]:
    """Write a buffer; return the seconds of each checkpoint and of everything else."""
    rng = np.random.default_rng(0)
    pieces = [episode(spec, steps, rng) for _ in range(4)]
    Timed.seconds = []
    started = time.perf_counter()
    with rlbuffers.create(path, spec) as writer:
        for number in range(episodes):
            writer.append_episode(pieces[number % len(pieces)])
    return Timed.seconds, time.perf_counter() - started - sum(Timed.seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="part of the transitions")
    scale = parser.parse_args().scale
    journal.INTERVAL_SECONDS = 0.0
    rlbuffers.writer.Checkpoints = Timed  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        for name, spec, episodes, steps in (("vectors", VECTORS, 1000, 1000), ("frames", FRAMES, 100, 1000)):
            for suffix in ("hdf5", "zarr"):
                found, rest = measure(Path(folder) / f"{name}.{suffix}", spec, int(episodes * scale), steps)
                median, last = statistics.median(found), statistics.median(found[-10:])
                print(
                    f"{name}, {suffix}: {int(episodes * scale) * steps:,} transitions in {rest:.1f} s; {len(found)} "
                    f"checkpoints of {median * 1e3:.1f} ms (median; the last ones {last * 1e3:.1f} ms): "
                    f"{last / INTERVAL_SECONDS:.3%} of the {INTERVAL_SECONDS:.0f} s between two"
                )


if __name__ == "__main__":
    import rlbuffers.writer

    main()
