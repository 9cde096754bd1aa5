"""Sample batches from Tianshou's ReplayBuffer in RAM (stack_num=4, each frame stored once).

Frames come from a .npy file of shape (N, 84, 84). Reads a number of batches from each line of
standard input, samples them, and answers with the seconds that took: so another process can take
turns with this one.

    .venv-peers/bin/python benchmarks/peers/tianshou_sampling.py FRAMES.npy BATCH_SIZE
"""

import sys
import time

import numpy as np
from tianshou.data import Batch, ReplayBuffer

EPISODE_STEPS = 500


def main():
    """Fill the buffer, then answer."""
    frames, batch_size = np.load(sys.argv[1], mmap_mode="r"), int(sys.argv[2])
    buffer = ReplayBuffer(len(frames), stack_num=4, ignore_obs_next=True, save_only_last_obs=True)
    for index in range(len(frames)):
        frame = np.asarray(frames[index])[None]
        ends = index % EPISODE_STEPS == EPISODE_STEPS - 1
        step = Batch(obs=frame, act=0, rew=0.0, terminated=ends, truncated=False, obs_next=frame, info={})
        buffer.add(step)
    for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
            batch, _ = buffer.sample(batch_size)
        seconds = time.perf_counter() - started
        if batch.obs.shape != (batch_size, 4, 84, 84) or batch.obs_next.shape != batch.obs.shape:
            raise SystemExit(f"unexpected shapes {batch.obs.shape}, {batch.obs_next.shape}")
        print(seconds, flush=True)


if __name__ == "__main__":
    main()
