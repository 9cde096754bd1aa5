"""Batches from d3rlpy's ReplayBuffer in RAM: frames (FrameStackTransitionPicker) or vectors.

.venv-peers/bin/python benchmarks/peers/d3rlpy_sampling.py DATA.npz BATCH_SIZE
"""

import numpy as np
from answering import EPISODE_STEPS, STACK, answer, arguments, check_shapes
from d3rlpy.dataset import (
    BasicTransitionPicker,
    Episode,
    FrameStackTransitionPicker,
    InfiniteBuffer,
    ReplayBuffer,
)


def main():
    """Fill the buffer, then answer."""
    data, batch_size, _ = arguments()
    is_frames = "frames" in data
    observations = data["frames"][:, None] if is_frames else data["observations"]
    count = len(observations)
    actions = np.zeros((count, 1), np.int64) if is_frames else data["actions"]
    rewards = np.zeros((count, 1), np.float32) if is_frames else data["rewards"][:, None]
    episodes = [
        Episode(observations[start:stop], actions[start:stop], rewards[start:stop], terminated=False)
        for start in range(0, count, EPISODE_STEPS)
        for stop in [min(start + EPISODE_STEPS, count)]
    ]
    picker = FrameStackTransitionPicker(STACK) if is_frames else BasicTransitionPicker()
    buffer = ReplayBuffer(InfiniteBuffer(), episodes=episodes, transition_picker=picker)
    batch = buffer.sample_transition_batch(batch_size)
    row_shape = (STACK, *observations.shape[2:]) if is_frames else observations.shape[1:]
    check_shapes(batch.observations, batch.next_observations, batch_size, row_shape)
    answer(lambda: buffer.sample_transition_batch(batch_size))


if __name__ == "__main__":
    main()
