"""The HDF5 file that ``d3rlpy.dataset.ReplayBuffer.load`` opens; d3rlpy is not needed to write it.

Format: ``d3rlpy/dataset/io.py`` of takuseno/d3rlpy, version 2.1. ``episodes.py`` says what of a
buffer it holds. Two data sets more than d3rlpy's own let the file be read back without loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import h5py

from rlbuffers.exports.base import Export
from rlbuffers.exports.d3rlpy.episodes import D3rlpyEpisode, D3rlpyEpisodes
from rlbuffers.exports.hdf5_arrays import write_whole
from rlbuffers.hdf5_writing import written_hdf5
from rlbuffers.reader import Buffer
from rlbuffers.schema import ACTIONS, OBSERVATIONS, REWARDS
from rlbuffers.sources.d3rlpy.replay_buffer import FINAL_ROWS, NUM_EPISODES, OBSERVATION_NAMES, TERMINATED
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["D3rlpyExport"]

_VERSION = "2.1"


class D3rlpyExport(Export):
    """One group of data sets an episode.

    Raises
    ------
    UnsupportedError
        If d3rlpy cannot hold such a buffer; says why.
    """

    suffix = ".h5"

    def __init__(self, buffer: Buffer) -> None:
        super().__init__(buffer)
        self._episodes = D3rlpyEpisodes(buffer)

    def write(self, path: Path, on_progress: Callable[[int], None]) -> None:
        """Write episode by episode."""
        names = self.buffer.spec.observation_names
        with written_hdf5(path, on_progress) as (file, on_progress):
            file["columns"] = [OBSERVATIONS, ACTIONS, REWARDS, TERMINATED]
            file[NUM_EPISODES] = len(self._episodes)
            file["version"] = _VERSION
            file[FINAL_ROWS] = self._episodes.final_rows
            if names != [OBSERVATIONS]:
                file[OBSERVATION_NAMES] = names
            for number, episode in enumerate(self._episodes):
                _write_episode(file, number, episode, is_tuple=names != [OBSERVATIONS])
                on_progress(int(self._episodes.stops[number]))

    def expected(self, before: Tally) -> Tally:
        """Everything, in the episodes that d3rlpy sees."""
        return Tally(len(self._episodes), before.transitions, before.reward_sum)

    def tally(self, path: Path) -> Tally:
        """Count rows and rewards with h5py, without those rows that hold an observation only."""
        transitions, reward_sum = 0, 0.0
        with h5py.File(path, "r") as file:
            count = int(file[NUM_EPISODES][()])
            final_rows = file[FINAL_ROWS][:]
            for number in range(count):
                rewards = file[f"{REWARDS}_{number}"][:]
                transitions += len(rewards)
                reward_sum += total_reward(rewards)
        return Tally(count, transitions - int(final_rows.sum()), reward_sum)

    def left_out(self) -> Sequence[str]:
        """Name what d3rlpy cannot hold."""
        return self._episodes.left_out()


def _write_episode(file: h5py.File, number: int, episode: D3rlpyEpisode, *, is_tuple: bool) -> None:
    for place, rows in enumerate(episode.observations):
        write_whole(file, f"{OBSERVATIONS}_{number}_{place}" if is_tuple else f"{OBSERVATIONS}_{number}", rows)
    write_whole(file, f"{ACTIONS}_{number}", episode.actions)
    write_whole(file, f"{REWARDS}_{number}", episode.rewards)
    file[f"{TERMINATED}_{number}"] = episode.terminated
