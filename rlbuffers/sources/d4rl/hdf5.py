"""D4RL's HDF5 files: flat arrays of consecutive steps, with the ends of episodes as flags.

What differs between the published files, and how it is read:

- ``timeouts`` may be missing (downloads before August 2020). Where the environment's limit is where
  episodes end, they are rebuilt from it; see `rebuilt_timeouts`.
- In AntMaze and Maze2D a terminal marks a goal, and play goes on: only timeouts end an episode.
- ``next_observations`` (gym v1 and v2) hold the last observation of each episode; elsewhere it is
  lost, as the following row is the next episode's first. They also tell resets that no flag marks.
- Flags may be floats, rewards (N, 1), ``infos`` one array or a group. ``metadata`` is about the whole.
- The file may end in the middle of an episode.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.schema import TERMINALS, TIMEOUTS
from rlbuffers.sources.d4rl.datasets import D4RLDataset
from rlbuffers.sources.d4rl.facts import checked_dataset, file_warnings, known_facts, policy_notes
from rlbuffers.sources.flat_columns import episode_bounds
from rlbuffers.sources.flat_source import FlatSource, TerminalMeaning
from rlbuffers.sources.flat_table import FlatTable
from rlbuffers.sources.hdf5_columns import HDF5Columns
from rlbuffers.sources.ogbench_names import find_ogbench
from rlbuffers.task_ends import impossible_terminals

__all__ = ["IGNORED_GROUP", "D4RLSource", "rebuilt_timeouts"]

Array = np.ndarray[Any, Any]
IGNORED_GROUP = "virtual"  # chunks of the same rows again, for a loader that nothing else uses


class D4RLSource(FlatSource):
    """Steps in time order, from one file.

    Parameters
    ----------
    path : str or Path
        The file.
    dataset : D4RLDataset, optional
        What it is, if that is known.
    names : mapping of str to str, optional
        Array of the file, or the part of nested names before a ``/``, to its name in the buffer.
    by_name : bool, default False
        Whether only the file's name says which dataset it is. It is not believed if the rows are of another size.
    terminals : {"end", "goal"}, optional
        What a terminal marks, whatever the dataset: the end of an episode, or a goal that play goes on from.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or it is not such a file; says what was expected.
    UsageError
        If there is no array of a name in `names`, or nothing ends an episode.
    """

    format = "d4rl"

    def __init__(
        self,
        path: str | Path,
        dataset: D4RLDataset | None = None,
        names: Mapping[str, str] | None = None,
        *,
        by_name: bool = False,
        terminals: TerminalMeaning | None = None,
    ) -> None:
        path = Path(path)
        of_recordings = dataset is None and find_ogbench(path) is not None
        table = HDF5Columns(path, IGNORED_GROUP, names, of_recordings=of_recordings)
        self._dataset, self._warnings, self._notes = checked_dataset(dataset, table.columns, path.name, by_name=by_name)
        self._timeouts_rebuilt: int | None = None
        timeouts = self._known_timeouts(table)
        ends = self._dataset.terminals_end_episodes if self._dataset else None
        super().__init__(path, table, timeouts, terminals_end=ends, terminals=terminals)

    def _known_timeouts(self, table: FlatTable) -> Array | None:
        """Return timeouts that the file lacks and that are known otherwise, and say so."""
        if self._dataset is None or table.flags.timeouts is not None:
            return None
        terminals = table.flags.terminals
        if self._dataset.timeouts == "horizon":
            rebuilt = rebuilt_timeouts(terminals, self._dataset.horizon)
            self._timeouts_rebuilt = int(rebuilt.sum())
            self._notes.append(
                f"The file has no timeouts. They were rebuilt: one after every {self._dataset.horizon:,} steps "
                "without a terminal."
            )
            return rebuilt
        if self._dataset.timeouts == "none":
            self._notes.append("The file has no timeouts; none is set.")
            return np.zeros(len(terminals), bool)
        return None

    def metadata(self) -> dict[str, Any]:
        """Describe the file, and what was found out about it."""
        found = super().metadata()
        known = known_facts(self._dataset)
        rebuilt = {} if self._timeouts_rebuilt is None else {"timeouts_rebuilt": self._timeouts_rebuilt}
        facts = found["source"]["files"][0]
        environment = known["environment"] | found["environment"]
        warnings, notes = self._remarks_on_timeouts()
        return self.with_kept_facts(
            {
                **found,
                **known,
                "environment": environment,
                "source": found["source"] | known["source"],
                "measurements": rebuilt | found["measurements"],
                "warnings": [
                    *file_warnings(self._dataset, facts),
                    *self._warnings,
                    *warnings,
                    *found["warnings"],
                    *impossible_terminals(environment, int(self._flags[TERMINALS].sum())),
                ],
                "notes": [
                    *known["notes"],
                    *self._notes,
                    *found["notes"],
                    *notes,
                    *self._end_notes(),
                    *policy_notes(self._table.read_extras()),
                ],
            }
        )

    def _remarks_on_timeouts(self) -> tuple[list[str], list[str]]:
        """Return warnings and notes about timeouts that are missing; next observations show where play was reset."""
        if TIMEOUTS in self._flags or self._table.flags.tells_limits:
            return [], []
        if self._following and (self._resets or self._following_is_next_row is False):
            return [], [
                "The file has no timeouts. An episode ends at a terminal, and where the next observation is not the "
                "following row's."
            ]
        if self._dataset is None:
            return [
                "The file has no timeouts, and where its episodes were cut is not known: only terminals end an "
                "episode. If play was also reset elsewhere, next observations are wrong there. Name the dataset if it "
                "is one of D4RL's."
            ], []
        return [
            "The file has no timeouts, unlike the one that was published, and its episodes do not follow the "
            "environment's limit: where they were cut is lost, and next observations are wrong there."
        ], []

    def _end_notes(self) -> list[str]:
        if self._ends[-1]:
            return []
        return ["The file ends in the middle of an episode, which has neither terminal nor timeout."]


def rebuilt_timeouts(terminals: Array, horizon: int) -> Array:
    """Set a timeout after every `horizon` steps without a terminal.

    The count starts again at 0 after every end, by terminal or by timeout. (D4RL's own loaders start
    at 1 after a terminal, which cuts the following episode one step short.)

    Parameters
    ----------
    terminals : bool, shape (N,)
        Rows that end an episode.
    horizon : int
        At least 1.

    Returns
    -------
    bool, shape (N,)
        Never set where `terminals` is.
    """
    timeouts = np.zeros(len(terminals), bool)
    for start, stop in episode_bounds(terminals):
        timeouts[start + horizon - 1 : stop : horizon] = True
    return timeouts & ~terminals
