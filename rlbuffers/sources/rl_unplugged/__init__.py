"""RL Unplugged's shards of TFRecord files, one module for each of their layouts."""
