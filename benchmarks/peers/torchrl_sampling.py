"""Batches from TorchRL's replay buffer: LazyMemmapStorage or LazyTensorStorage; stacks are stored as they are.

.venv-peers/bin/python benchmarks/peers/torchrl_sampling.py DATA.npz BATCH_SIZE {memmap,tensor}
"""

import tempfile

import numpy as np
import torch
from answering import answer, arguments, check_shapes, ends_of, stack_at
from tensordict import TensorDict
from torchrl.data import LazyMemmapStorage, LazyTensorStorage, ReplayBuffer

ROWS_AT_ONCE = 500


def block_of(data, rows):
    """Return some transitions as columns."""
    if "frames" in data:
        stacks = [stack_at(data["frames"], row) for row in rows]
        count = len(stacks)
        columns = {
            "observation": np.stack([stack for stack, _ in stacks]),
            "next_observation": np.stack([following for _, following in stacks]),
            "action": np.zeros(count, np.int64),
            "reward": np.zeros(count, np.float32),
        }
    else:
        columns = {
            "observation": data["observations"][rows],
            "next_observation": data["next_observations"][rows],
            "action": data["actions"][rows],
            "reward": data["rewards"][rows],
        }
    columns["terminated"] = np.zeros(len(rows), bool)
    columns["truncated"] = ends_of(max(rows) + 1)[rows]
    return TensorDict({name: torch.from_numpy(values) for name, values in columns.items()}, batch_size=len(rows))


def main():
    """Fill the buffer, then answer."""
    data, batch_size, kind = arguments()
    count = len(next(iter(data.values())))
    with tempfile.TemporaryDirectory() as scratch:
        storage = LazyMemmapStorage(count, scratch_dir=scratch) if kind == "memmap" else LazyTensorStorage(count)
        buffer = ReplayBuffer(storage=storage, batch_size=batch_size)
        for start in range(0, count, ROWS_AT_ONCE):
            buffer.extend(block_of(data, np.arange(start, min(start + ROWS_AT_ONCE, count))))
        batch = buffer.sample()
        row_shape = tuple(block_of(data, np.arange(1))["observation"].shape[1:])
        check_shapes(batch["observation"], batch["next_observation"], batch_size, row_shape)
        answer(buffer.sample)


if __name__ == "__main__":
    main()
