"""The source formats: a table of what can be read, and the classes that read it.

One file or package each; see ``base.py`` for the contract. The suites of RL Unplugged beyond Atari are in
``rl_unplugged/``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlbuffers.formats import Format
from rlbuffers.lazy import lazy_names

if TYPE_CHECKING:
    from rlbuffers.sources.concatenated import ConcatenatedSource
    from rlbuffers.sources.d3rlpy.versions import d3rlpy_source
    from rlbuffers.sources.d4rl.hdf5 import D4RLSource
    from rlbuffers.sources.d4rl.qlearning import D4RLQLearningSource
    from rlbuffers.sources.diffusion_policy import DiffusionPolicySource
    from rlbuffers.sources.dopamine.logs import DopamineSource
    from rlbuffers.sources.exorl import ExORLSource
    from rlbuffers.sources.imitation import ImitationSource
    from rlbuffers.sources.lerobot.dataset import LeRobotSource
    from rlbuffers.sources.minari.dataset import MinariSource
    from rlbuffers.sources.npz import NpzSource
    from rlbuffers.sources.ogbench import OGBenchSource
    from rlbuffers.sources.reverb.checkpoint import ReverbSource
    from rlbuffers.sources.rl_unplugged.atari_episodes import RLUAtariEpisodesSource
    from rlbuffers.sources.rl_unplugged.atari_transitions import RLUAtariSource
    from rlbuffers.sources.rllib.dataset import RLlibSource
    from rlbuffers.sources.robomimic.dataset import RobomimicSource
    from rlbuffers.sources.stable_baselines import StableBaselinesSource
    from rlbuffers.sources.tfds.rlds import RLDSSource
    from rlbuffers.sources.tianshou.hdf5 import TianshouSource

__all__ = [
    "SOURCES",
    "ConcatenatedSource",
    "D4RLQLearningSource",
    "D4RLSource",
    "DiffusionPolicySource",
    "DopamineSource",
    "ExORLSource",
    "ImitationSource",
    "LeRobotSource",
    "MinariSource",
    "NpzSource",
    "OGBenchSource",
    "RLDSSource",
    "RLUAtariEpisodesSource",
    "RLUAtariSource",
    "RLlibSource",
    "ReverbSource",
    "RobomimicSource",
    "StableBaselinesSource",
    "TianshouSource",
    "d3rlpy_source",
]

_HERE = "rlbuffers.sources"
__getattr__ = lazy_names(
    __name__,
    {
        "ConcatenatedSource": f"{_HERE}.concatenated:ConcatenatedSource",
        "D4RLQLearningSource": f"{_HERE}.d4rl.qlearning:D4RLQLearningSource",
        "D4RLSource": f"{_HERE}.d4rl.hdf5:D4RLSource",
        "DiffusionPolicySource": f"{_HERE}.diffusion_policy:DiffusionPolicySource",
        "DopamineSource": f"{_HERE}.dopamine.logs:DopamineSource",
        "ExORLSource": f"{_HERE}.exorl:ExORLSource",
        "ImitationSource": f"{_HERE}.imitation:ImitationSource",
        "LeRobotSource": f"{_HERE}.lerobot.dataset:LeRobotSource",
        "MinariSource": f"{_HERE}.minari.dataset:MinariSource",
        "NpzSource": f"{_HERE}.npz:NpzSource",
        "OGBenchSource": f"{_HERE}.ogbench:OGBenchSource",
        "RLDSSource": f"{_HERE}.tfds.rlds:RLDSSource",
        "RLUAtariEpisodesSource": f"{_HERE}.rl_unplugged.atari_episodes:RLUAtariEpisodesSource",
        "RLUAtariSource": f"{_HERE}.rl_unplugged.atari_transitions:RLUAtariSource",
        "RLlibSource": f"{_HERE}.rllib.dataset:RLlibSource",
        "ReverbSource": f"{_HERE}.reverb.checkpoint:ReverbSource",
        "StableBaselinesSource": f"{_HERE}.stable_baselines:StableBaselinesSource",
        "RobomimicSource": f"{_HERE}.robomimic.dataset:RobomimicSource",
        "TianshouSource": f"{_HERE}.tianshou.hdf5:TianshouSource",
        "d3rlpy_source": f"{_HERE}.d3rlpy.versions:d3rlpy_source",
    },
)

SOURCES = {
    "d4rl": Format("D4RL HDF5 files: gym, antmaze, maze2d, adroit, kitchen"),
    "d3rlpy": Format("d3rlpy ReplayBuffer dumps (v2) and MDPDataset files (v1)"),
    "diffusion-policy": Format("Diffusion Policy's Zarr groups: demonstrations, such as pusht.zarr"),
    "dopamine": Format("Dopamine replay logs ($store$_*.gz), such as DQN Replay"),
    "exorl": Format("folders of one archive (.npz) an episode: ExORL, DrQ-v2, V-D4RL"),
    "imitation": Format("trajectories of the imitation library (.npz, before its version 1.0)"),
    "lerobot": Format("LeRobot datasets, versions 2.0 to 3.0", ("pyarrow", "PIL"), "lerobot"),
    "minari": Format("Minari datasets, HDF5 and Arrow", ("pyarrow", "PIL"), "minari", "Arrow files and JPEG images"),
    "npz": Format("NumPy archives of flat arrays, with the D4RL names or other usual ones"),
    "ogbench": Format("OGBench's archives (.npz), goal-conditioned and relabelled for a single task"),
    "reverb": Format("Reverb checkpoints, and tables of a running server", ("reverb",), "reverb", "a running server"),
    "rl-unplugged": Format(
        "RL Unplugged: Atari, Control Suite, Locomotion, RWRL, DM Lab, bsuite", ("PIL",), "images", "DM Lab's images"
    ),
    "robomimic": Format("robomimic HDF5 files of demonstrations, also MimicGen's and Isaac Lab's"),
    "rllib": Format(
        "RLlib offline data: JSON lines and Parquet", ("pyarrow",), "rllib", "Parquet files and packed columns"
    ),
    "stable-baselines": Format("expert data of Stable Baselines 2 (.npz)"),
    "tfds": Format(
        "RLDS datasets prepared by TensorFlow Datasets",
        ("tensorflow_datasets", "PIL"),
        "tfds",
        "downloading, images, and files other than TFRecord",
    ),
    "tianshou": Format("Tianshou ReplayBuffer and VectorReplayBuffer HDF5 files"),
}
