"""The source formats: a table of what can be read; one file each, see ``base.py`` for the contract."""

from __future__ import annotations

from rlbuffers.formats import Format

__all__ = ["SOURCES"]

SOURCES = {
    "d4rl": Format("D4RL HDF5 files: gym, antmaze, maze2d, adroit, kitchen"),
    "d3rlpy": Format("d3rlpy ReplayBuffer dumps (v2) and MDPDataset files (v1)"),
    "dopamine": Format("Dopamine replay logs ($store$_*.gz), such as DQN Replay"),
    "minari": Format("Minari datasets, HDF5 and Arrow", ("pyarrow", "PIL"), "minari", "Arrow files and JPEG images"),
    "npz": Format("NumPy archives of arrays with the D4RL names"),
    "reverb": Format("Reverb checkpoints, and tables of a running server", ("reverb",), "reverb", "a running server"),
    "rl-unplugged": Format(
        "RL Unplugged: Atari, Control Suite, Locomotion, RWRL, DM Lab, bsuite", ("PIL",), "images", "DM Lab's images"
    ),
    "tfds": Format(
        "RLDS datasets prepared by TensorFlow Datasets",
        ("tensorflow_datasets", "PIL"),
        "tfds",
        "downloading, images, and files other than TFRecord",
    ),
    "tianshou": Format("Tianshou ReplayBuffer and VectorReplayBuffer HDF5 files"),
}
