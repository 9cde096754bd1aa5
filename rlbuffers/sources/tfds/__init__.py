"""RLDS datasets prepared by TensorFlow Datasets."""
