"""Decode a raw RL Unplugged Atari shard with TensorFlow, one record at a time, as people do today.

`--hdf5 OUT` fills arrays and writes gzip HDF5 under the D4RL names, and prints the speed. Without
it, a SHA-256 of each column's bytes over all records is printed, to compare a buffer with.

    .venv-peers/bin/python benchmarks/peers/tensorflow_convert.py SHARD [--limit N] [--hdf5 OUT]
"""

import argparse
import hashlib
import json
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import numpy as np
import tensorflow as tf

IMAGES = {"o_t": "observations", "o_tp1": "next_observations"}
SCALARS = {
    "a_t": ("actions", tf.int64),
    "a_tp1": ("next_actions", tf.int64),
    "r_t": ("rewards", tf.float32),
    "d_t": ("discounts", tf.float32),
    "episode_id": ("episode_ids", tf.int64),
    "episode_return": ("episode_returns", tf.float32),
}
FEATURES = {
    **{key: tf.io.FixedLenFeature([4], tf.string) for key in IMAGES},
    **{key: tf.io.FixedLenFeature([], kind) for key, (_, kind) in SCALARS.items()},
}


def rows(shard, limit):
    """Yield each record as a dict of column name to array."""
    records = tf.data.TFRecordDataset(shard, compression_type="GZIP")
    for record in records.take(limit) if limit else records:
        step = tf.io.parse_single_example(record, FEATURES)
        row = {
            name: np.stack([tf.io.decode_png(png, channels=1).numpy()[..., 0] for png in step[key]])
            for key, name in IMAGES.items()
        }
        row.update({name: step[key].numpy() for key, (name, _) in SCALARS.items()})
        row["terminals"] = np.bool_(row["discounts"] == 0.0)
        yield row


def main():
    """Convert, or hash."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shard")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--hdf5")
    args = parser.parse_args()
    started = time.perf_counter()
    if args.hdf5:
        columns = {}
        for row in rows(args.shard, args.limit):
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
        with h5py.File(args.hdf5, "w") as file:
            for name, values in columns.items():
                file.create_dataset(name, data=np.asarray(values), compression="gzip")
        count = len(columns["actions"])
        print(json.dumps({"transitions": count, "seconds": time.perf_counter() - started}))
        return
    digests, count = {}, 0
    for row in rows(args.shard, args.limit):
        count += 1
        for name, value in row.items():
            digests.setdefault(name, hashlib.sha256()).update(np.ascontiguousarray(value).tobytes())
    print(json.dumps({"transitions": count, "sha256": {name: digest.hexdigest() for name, digest in digests.items()}}))


if __name__ == "__main__":
    main()
