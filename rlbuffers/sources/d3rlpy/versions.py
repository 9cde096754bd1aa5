"""Which of d3rlpy's formats a file is of."""

from __future__ import annotations

from pathlib import Path

from rlbuffers.episode import Episode
from rlbuffers.sources.base import Source
from rlbuffers.sources.d3rlpy.mdp_dataset import MDPDatasetSource
from rlbuffers.sources.d3rlpy.replay_buffer import NUM_EPISODES, D3rlpySource
from rlbuffers.sources.hdf5_files import opened_hdf5

__all__ = ["d3rlpy_source"]


def d3rlpy_source(path: str | Path) -> Source[Episode]:
    """Open a file that d3rlpy dumped, of any version.

    Parameters
    ----------
    path : str or Path
        What ``ReplayBuffer.dump`` (version 2) or ``MDPDataset.dump`` (1 and 0) wrote.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or it is not such a dump; says what was expected.
    """
    path = Path(path)
    with opened_hdf5(path) as file:
        has_episodes = NUM_EPISODES in file
    return D3rlpySource(path) if has_episodes else MDPDatasetSource(path)
