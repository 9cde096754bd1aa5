"""d3rlpy's ``MDPDataset``, as its versions 1 and 0 dumped it: flat arrays of consecutive steps.

Format: ``d3rlpy/dataset.pyx`` of takuseno/d3rlpy v1.1.1 and v0.91. ``episode_terminals`` says where an
episode ends; where it is set and ``terminals`` is not, the episode was cut by a time limit.

Version 0, whose files do not name their version, has rewards and terminals one row later: row t holds
what came *with* observation t. An episode of T + 1 rows is T transitions there, and its last row holds
the last observation only, which may be a dummy where the episode was terminated.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.episode import Episode
from rlbuffers.errors import FormatError
from rlbuffers.reader_versions import source_facts
from rlbuffers.schema import REWARDS, TERMINALS, TIMEOUTS, BufferSpec, ColumnSpec, is_observation
from rlbuffers.sources.base import FileSource, blamed_on
from rlbuffers.sources.files import file_facts
from rlbuffers.sources.flat_columns import cut_episodes, episode_bounds
from rlbuffers.sources.hdf5_columns import HDF5Columns
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["MDPDatasetSource"]

Array = np.ndarray[Any, Any]
_EPISODE_TERMINALS = "episode_terminals"
_VERSIONS = {"0": 0, "1.0": 1}


class MDPDatasetSource(FileSource[Episode]):
    """The episodes of one dump.

    Parameters
    ----------
    path : str or Path
        The file.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or it is not such a dump; says what was expected.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._file = HDF5Columns(self.path)
        self._rewards_are_late = self._version() == 0
        self._terminals = self._file.column(TERMINALS)
        self._ends = self._terminals
        if _EPISODE_TERMINALS in self._file.columns:
            self._ends = self._file.column(_EPISODE_TERMINALS) != 0
        self._bounds = episode_bounds(self._ends)
        self._spec = self._make_spec()

    def _version(self) -> int:
        """Tell 0 from 1; a file that might as well be another library's is refused, since the two differ in meaning."""
        version = str(self._file.scalars.get("version", {"value": "0"})["value"])
        if "discrete_action" not in self._file.scalars or version not in _VERSIONS:
            said = f"version {version!r}" if "version" in self._file.scalars else "no version"
            raise FormatError(
                f"{self.path}: expected a d3rlpy dump, with 'discrete_action' and version 1.0 or none; found flat "
                f"arrays and {said}"
            )
        return _VERSIONS[version]

    def _make_spec(self) -> BufferSpec:
        flags = (TERMINALS, TIMEOUTS)
        columns = {name: column for name, column in self._file.columns.items() if name != _EPISODE_TERMINALS}
        columns |= {name: ColumnSpec(name, np.dtype(np.bool_)) for name in flags}
        with blamed_on(self.path):
            return BufferSpec("episodes", columns, extras=self._file.extras)

    @property
    def spec(self) -> BufferSpec:
        """Episodes, with every column of the file."""
        return self._spec

    def pieces(self) -> Iterator[Episode]:
        """Yield the episodes in order."""
        names = [name for name in self._spec.columns if name not in (TERMINALS, TIMEOUTS)]
        for (start, stop), rows in zip(self._bounds, self._file.rows(self._bounds, names), strict=True):
            self._done += stop - start
            terminals, ends = self._terminals[start:stop], self._ends[start:stop]
            rows |= {TERMINALS: terminals, TIMEOUTS: ends & ~terminals}
            if not self._rewards_are_late:
                yield from cut_episodes(rows, ends)
            elif stop - start > 1:
                yield _arrival_to_departure(rows)

    def extras(self) -> dict[str, Array]:
        """Return the arrays whose length is not that of the rewards."""
        return self._file.read_extras()

    def tally(self) -> Tally:
        """Count the file's rows; in version 0 the first row of each episode holds no reward."""
        rewards = self._file.column(REWARDS)
        if not self._rewards_are_late:
            return Tally(len(self._bounds), len(rewards), total_reward(rewards))
        firsts = [start for start, _ in self._bounds]
        episodes = sum(stop - start > 1 for start, stop in self._bounds)
        return Tally(episodes, len(rewards) - len(firsts), total_reward(np.delete(rewards, firsts)))

    def metadata(self) -> dict[str, Any]:
        """Describe the file."""
        notes = ["The format marks no timeouts: one was set where an episode ends without a terminal."]
        shifted = {}
        left_out = list(self._file.left_out)
        if self._rewards_are_late:
            shifted = {"shifted": "rewards and terminals, by one row"}
            notes.append(
                "The file names no version, so it is of version 0, in which row t holds the reward that came with "
                "observation t. Rewards and terminals were moved to the row of the action that led there."
            )
            notes.append("The last observation of an episode that was terminated may be a dummy.")
            left_out += self._lost_rows()
        else:
            notes.append("What was observed after the last action of an episode is not in the file.")
        return {
            "environment": {},
            "behavior_policy": {},
            "source": source_facts("d3rlpy", files=[file_facts(self.path)], **shifted),
            "measurements": {},
            "warnings": self._file.warnings,
            "left_out": left_out,
            "scalars": self._file.scalars,
            "license": "",
            "citation": "",
            "notes": notes,
        }

    def _lost_rows(self) -> Iterator[str]:
        rewards = self._file.column(REWARDS)
        given = int(np.count_nonzero([rewards[start] for start, _ in self._bounds]))
        if given:
            yield f"the rewards in the first rows of {given:,} episodes, before which there was no action"
        single = sum(stop - start == 1 for start, stop in self._bounds)
        if single:
            yield f"{single:,} episodes of one row, which hold no transition"

    @property
    def total(self) -> int:
        """Number of rows."""
        return self._file.num_rows


def _arrival_to_departure(rows: dict[str, Array]) -> Episode:
    """Make T transitions of T + 1 rows in which rewards and flags stand where they led to."""
    late = (REWARDS, TERMINALS, TIMEOUTS)
    observations = {name: values for name, values in rows.items() if is_observation(name)}
    columns = {
        name: values[1:] if name in late else values[:-1] for name, values in rows.items() if name not in observations
    }
    return Episode(columns, observations, {}, bool(columns[TERMINALS][-1] or columns[TIMEOUTS][-1]))
