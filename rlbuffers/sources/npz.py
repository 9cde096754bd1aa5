"""NumPy archives (``.npz``) of flat arrays with the D4RL names.

The archive format is that of ``numpy.savez``: a ZIP of ``.npy`` members. Expected are
``observations`` (or ``observations/KEY``), ``actions``, ``rewards`` and ``terminals``; ``timeouts``,
``next_observations`` and any further arrays of the same length are kept. Arrays of other lengths,
scalars, and what stands under ``metadata/`` belong to the data as a whole. What the rows tell of the
ends of episodes beyond their flags is the same as in a D4RL file of unknown origin.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.decoding.npz_archive import read_npz
from rlbuffers.episode import Episode
from rlbuffers.reader_versions import source_facts
from rlbuffers.schema import REWARDS, TERMINALS, TIMEOUTS, BufferSpec, ColumnSpec, is_observation, next_name
from rlbuffers.sources.base import FileSource, blamed_on
from rlbuffers.sources.files import file_facts, require_file
from rlbuffers.sources.flat_columns import (
    cut_episodes,
    ended_by_timeout,
    episode_bounds,
    flat_column,
    scalar_facts,
    sort_arrays,
)
from rlbuffers.sources.flat_ends import (
    ENDS_LOOKED_AT,
    SHIFTED,
    goal_rows,
    goal_warning,
    next_rows_follow,
    reset_warnings,
    unmarked_resets,
)
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["NpzSource"]

Array = np.ndarray[Any, Any]


class NpzSource(FileSource[Episode]):
    """Steps in time order, from one archive; an episode ends at a terminal or a timeout.

    Parameters
    ----------
    path : str or Path
        The archive. It is read into memory.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or it is not such an archive; says what was expected.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        require_file(self.path)
        arrays, no_arrays = read_npz(self.path)
        self._raw_rewards = arrays.get(REWARDS)
        names = sort_arrays(arrays, self.where)
        self._columns = {name: flat_column(name, arrays[name], self.where) for name in names.columns}
        self._extras = {name: arrays[name] for name in names.extras}
        self._scalars, unsaid = scalar_facts({name: arrays[name] for name in names.scalars})
        self._left_out = no_arrays + names.left_out + unsaid
        self._goals = self._goals_played_on_from()
        self._flag_ends = self._ends_by_flags()
        self._drop_shifted()
        self._resets = unmarked_resets(self._columns, self._flag_ends)
        self._spec = self._make_spec()

    def _goals_played_on_from(self) -> int:
        """Return how many terminals are goals, if that is what the terminals are."""
        goals = goal_rows(self._columns)
        return len(goals) if next_rows_follow(self._columns, goals[:ENDS_LOOKED_AT]) else 0

    def _ends_by_flags(self) -> Array:
        ends: Array = self._columns.get(TIMEOUTS, np.zeros(self.total, np.bool_))
        return ends if self._goals else ends | self._columns[TERMINALS]

    def _drop_shifted(self) -> None:
        """Forget next observations that are only the observations moved by a row."""
        following = {next_name(name) for name in self._columns if is_observation(name)} & set(self._columns)
        ends = np.flatnonzero(self._flag_ends[:-1])[:ENDS_LOOKED_AT]
        if following and len(ends) and next_rows_follow(self._columns, ends):
            self._columns = {name: rows for name, rows in self._columns.items() if name not in following}
            self._left_out.append(SHIFTED)

    def _make_spec(self) -> BufferSpec:
        derived = {next_name(name) for name in self._columns if is_observation(name)}
        with blamed_on(self.path):
            return BufferSpec(
                layout="episodes",
                columns=[
                    ColumnSpec(name, rows.dtype, rows.shape[1:])
                    for name, rows in self._columns.items()
                    if name not in derived
                ],
                extras=[ColumnSpec(name, rows.dtype, rows.shape[1:]) for name, rows in self._extras.items()],
            )

    @property
    def spec(self) -> BufferSpec:
        """Episodes, with every column that the archive has."""
        return self._spec

    def pieces(self) -> Iterator[Episode]:
        """Yield the episodes in order."""
        for episode in cut_episodes(self._columns, self._flag_ends | self._resets):
            self._done += len(episode)
            yield ended_by_timeout(episode) if self._goals else episode

    def extras(self) -> Mapping[str, Array]:
        """Return the arrays whose length is not that of the rewards."""
        return self._extras

    def tally(self) -> Tally:
        """Count the rows of the archive."""
        episodes = len(episode_bounds(self._flag_ends | self._resets))
        return Tally(episodes, self.total, total_reward(np.asarray(self._raw_rewards)))

    def metadata(self) -> dict[str, Any]:
        """Describe the archive."""
        resets = int(self._resets.sum())
        return {
            "environment": {"terminals_end_episodes": False} if self._goals else {},
            "behavior_policy": {},
            "source": source_facts("npz", files=[file_facts(self.path)]),
            "measurements": {
                **({"terminals_in_long_runs": self._goals} if self._goals else {}),
                **({"unmarked_resets": resets} if resets else {}),
            },
            "warnings": [*([goal_warning(self._goals)] if self._goals else []), *reset_warnings(resets, self.total)],
            "left_out": self._left_out,
            "scalars": self._scalars,
            "license": "",
            "citation": "",
            "notes": [],
        }

    @property
    def total(self) -> int:
        """Number of rows."""
        return len(self._columns[REWARDS])
