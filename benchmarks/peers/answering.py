"""What the peers' sampling scripts share: the arguments, and taking turns with another process.

Data come as a .npz file: `frames` (N, 84, 84), or the columns of vectors. Reads a number of batches from each
line of standard input, samples them, and answers with the seconds that took.
"""

import sys
import time

import numpy as np

EPISODE_STEPS = 500
STACK = 4


def arguments():
    """Return (arrays by name, batch size, name of the variant)."""
    with np.load(sys.argv[1]) as data:
        return dict(data), int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ""


def ends_of(count):
    """Return a bool for each row: whether an episode ends there."""
    return np.arange(count) % EPISODE_STEPS == EPISODE_STEPS - 1


def stack_at(frames, row):
    """Return the stack of a row, shape (4, 84, 84), and that of the next one."""
    rows = np.clip(np.arange(row - STACK + 1, row + 2), 0, len(frames) - 1)
    return frames[rows[:-1]], frames[rows[1:]]


def answer(sample):
    """Sample as often as asked, until nobody asks any more."""
    sample()
    print("ready", flush=True)
    for line in sys.stdin:
        count = int(line)
        started = time.perf_counter()
        for _ in range(count):
            sample()
        print(time.perf_counter() - started, flush=True)


def check_shapes(observations, following, batch_size, row_shape):
    """Stop where a peer gives something else than asked for."""
    expected = (batch_size, *row_shape)
    if tuple(observations.shape) != expected or tuple(following.shape) != expected:
        raise SystemExit(f"expected {expected}, got {observations.shape} and {following.shape}")
