"""Batches from Tianshou's ReplayBuffer in RAM: frames (stack_num=4, each frame stored once) or vectors.

.venv-peers/bin/python benchmarks/peers/tianshou_sampling.py DATA.npz BATCH_SIZE
"""

import numpy as np
from answering import STACK, answer, arguments, check_shapes, ends_of
from tianshou.data import Batch, ReplayBuffer


def filled_with_frames(frames):
    """Return a buffer of frames."""
    buffer = ReplayBuffer(len(frames), stack_num=STACK, ignore_obs_next=True, save_only_last_obs=True)
    for frame, ends in zip(frames, ends_of(len(frames)), strict=True):
        step = Batch(obs=frame[None], act=0, rew=0.0, terminated=ends, truncated=False, obs_next=frame[None], info={})
        buffer.add(step)
    return buffer


def filled_with_vectors(columns):
    """Return a buffer of vectors."""
    count = len(columns["rewards"])
    buffer = ReplayBuffer(count)
    ends = ends_of(count)
    for row in range(count):
        buffer.add(
            Batch(
                obs=columns["observations"][row],
                act=columns["actions"][row],
                rew=columns["rewards"][row],
                terminated=np.bool_(False),
                truncated=ends[row],
                obs_next=columns["next_observations"][row],
                info={},
            )
        )
    return buffer


def main():
    """Fill the buffer, then answer."""
    data, batch_size, _ = arguments()
    is_frames = "frames" in data
    buffer = filled_with_frames(data["frames"]) if is_frames else filled_with_vectors(data)
    batch, _ = buffer.sample(batch_size)
    row_shape = (STACK, *data["frames"].shape[1:]) if is_frames else data["observations"].shape[1:]
    check_shapes(batch.obs, batch.obs_next, batch_size, row_shape)
    answer(lambda: buffer.sample(batch_size))


if __name__ == "__main__":
    main()
