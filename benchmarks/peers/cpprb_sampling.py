"""Batches from cpprb's ReplayBuffer in RAM: frames (stack_compress, next_of) or vectors.

.venv-peers/bin/python benchmarks/peers/cpprb_sampling.py DATA.npz BATCH_SIZE
"""

import numpy as np
from answering import EPISODE_STEPS, STACK, answer, arguments, check_shapes, ends_of, stack_at
from cpprb import ReplayBuffer


def filled_with_frames(frames):
    """Return a buffer of stacks that are compressed to frames; the stack is cpprb's last axis."""
    shape = (*frames.shape[1:], STACK)
    fields = {"obs": {"shape": shape, "dtype": np.uint8}, "act": {}, "rew": {}, "done": {}}
    buffer = ReplayBuffer(len(frames), fields, next_of="obs", stack_compress="obs")
    for row, ends in enumerate(ends_of(len(frames))):
        stack, following = (np.moveaxis(part, 0, -1) for part in stack_at(frames, row))
        buffer.add(obs=stack, act=0, rew=0.0, next_obs=following, done=float(ends))
        if ends:
            buffer.on_episode_end()
    return buffer, shape


def filled_with_vectors(columns):
    """Return a buffer of vectors."""
    shape = columns["observations"].shape[1:]
    fields = {
        "obs": {"shape": shape},
        "next_obs": {"shape": shape},
        "act": {"shape": columns["actions"].shape[1:]},
        "rew": {},
        "done": {},
        "timeout": {},
    }
    count = len(columns["rewards"])
    buffer = ReplayBuffer(count, fields)
    ends = ends_of(count)
    for start in range(0, count, EPISODE_STEPS):
        rows = slice(start, start + EPISODE_STEPS)
        buffer.add(
            obs=columns["observations"][rows],
            next_obs=columns["next_observations"][rows],
            act=columns["actions"][rows],
            rew=columns["rewards"][rows],
            done=np.zeros(len(ends[rows])),
            timeout=ends[rows],
        )
    return buffer, shape


def main():
    """Fill the buffer, then answer."""
    data, batch_size, _ = arguments()
    buffer, shape = filled_with_frames(data["frames"]) if "frames" in data else filled_with_vectors(data)
    batch = buffer.sample(batch_size)
    check_shapes(batch["obs"], batch["next_obs"], batch_size, shape)
    answer(lambda: buffer.sample(batch_size))


if __name__ == "__main__":
    main()
