"""RLDS datasets that TensorFlow Datasets opens."""
