"""Write what TensorFlow reads in each RL Unplugged shard beside this file, as ``<game>.truth.npz``.

The tests compare the conversion with these arrays, which none of this project's code has touched. Needs TensorFlow
and numpy, and nothing else. Run it again only when a shard changes::

    python tests/data/make_truth.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

SHARD = "run_1-00001-of-00100"
STACK = 4
FEATURES = {
    "o_t": tf.io.FixedLenFeature([STACK], tf.string),
    "o_tp1": tf.io.FixedLenFeature([STACK], tf.string),
    "a_t": tf.io.FixedLenFeature([], tf.int64),
    "a_tp1": tf.io.FixedLenFeature([], tf.int64),
    "r_t": tf.io.FixedLenFeature([], tf.float32),
    "d_t": tf.io.FixedLenFeature([], tf.float32),
    "episode_id": tf.io.FixedLenFeature([], tf.int64),
    "episode_return": tf.io.FixedLenFeature([], tf.float32),
}
COLUMNS = {
    "actions": "a_t",
    "next_actions": "a_tp1",
    "rewards": "r_t",
    "discounts": "d_t",
    "episode_ids": "episode_id",
    "episode_returns": "episode_return",
}


def stack(pngs: tf.Tensor) -> np.ndarray:
    return np.stack([tf.io.decode_png(png, channels=1).numpy()[..., 0] for png in pngs])


def truth_of(shard: Path) -> dict[str, np.ndarray]:
    records = tf.data.TFRecordDataset(str(shard), compression_type="GZIP")
    parsed = [tf.io.parse_single_example(record, FEATURES) for record in records]
    columns = {name: np.stack([example[key].numpy() for example in parsed]) for name, key in COLUMNS.items()}
    columns["observations"] = np.stack([stack(example["o_t"]) for example in parsed])
    columns["next_observations"] = np.stack([stack(example["o_tp1"]) for example in parsed])
    return columns


def main() -> None:
    for shard in sorted(Path(__file__).parent.glob(f"rl_unplugged/*/{SHARD}")):
        columns = truth_of(shard)
        target = shard.parent.parent / f"{shard.parent.name}.truth.npz"
        np.savez_compressed(target, **columns)
        print(f"{target}: {len(columns['rewards'])} transitions")  # noqa: T201


if __name__ == "__main__":
    main()
