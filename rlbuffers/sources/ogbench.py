"""OGBench's archives (``NAME.npz`` and ``NAME-val.npz``).

Park et al., "OGBench: Benchmarking Offline Goal-Conditioned RL", ICLR 2025, arXiv 2410.20092; read as
``ogbench.utils.load_dataset`` reads them.

- ``terminals`` are ends of recordings, never of the task: they become timeouts. A task is done where ``masks`` are
  0, in files that were relabelled for a single task, and play goes on from there.
- In a published file the last row of a trajectory only holds its last observation (the ``terminals`` stand there), so
  T + 1 rows are T transitions. What ``load_dataset`` returns is read as well, with ``next_observations``, or compact,
  where ``valids`` are 0 in such rows.
- Published files have no rewards: zeros stand in their place. Relabelled ones have rewards and masks.
- ``qpos``, ``qvel`` and ``button_states`` are kept as columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.episode import Episode
from rlbuffers.listing import listed
from rlbuffers.schema import REWARDS, TERMINALS, TIMEOUTS, BufferSpec, ColumnSpec, is_observation
from rlbuffers.sources.base import blamed_on
from rlbuffers.sources.flat_columns import episode_bounds
from rlbuffers.sources.flat_source import FlatSource
from rlbuffers.sources.npz_columns import NpzColumns
from rlbuffers.sources.ogbench_names import find_ogbench
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["CITATION", "OGBenchSource"]

Array = np.ndarray[Any, Any]
_VALIDS = "valids"
CITATION = (
    "@inproceedings{ogbench_park2025, title={OGBench: Benchmarking Offline Goal-Conditioned RL}, author={Park, Seohong "
    "and Frans, Kevin and Eysenbach, Benjamin and Levine, Sergey}, booktitle={International Conference on Learning "
    "Representations (ICLR)}, year={2025}}"
)


class OGBenchSource(FlatSource):
    """The trajectories of one archive; memory is bounded by the longest one.

    Parameters
    ----------
    path : str or Path
        The archive. Its name tells the environment, if it is one of OGBench's.
    names : mapping of str to str, optional
        Array of the file to its name in the buffer.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or it is not such an archive; says what was expected.
    UsageError
        If there is no array of a name in `names`.
    """

    format = "ogbench"

    def __init__(self, path: str | Path, names: Mapping[str, str] | None = None) -> None:
        path = Path(path)
        table = NpzColumns(path, names, of_recordings=True, needs_rewards=False)
        self._is_compact = _VALIDS in table.columns
        super().__init__(path, table, terminals_end=False)
        self._has_last_rows = not self._following
        if self._has_last_rows:
            # Compact files mark the last transition as well as the row behind it.
            closed = table.column(_VALIDS) == 0 if self._is_compact else self._ends
            self._closed = closed
            self._bounds = episode_bounds(closed)

    def _make_spec(self) -> BufferSpec:
        columns = {
            name: column
            for name, column in self._table.columns.items()
            if name not in self._following and name != _VALIDS
        }
        columns[TIMEOUTS] = ColumnSpec(TIMEOUTS, np.dtype(np.bool_))
        with blamed_on(self.path):
            return BufferSpec("episodes", columns, extras=self._table.extras)

    def pieces(self) -> Iterator[Episode]:
        """Yield the trajectories in order."""
        if not self._has_last_rows:
            yield from super().pieces()
            return
        names = [name for name in self._spec.columns if name != TIMEOUTS]
        for (start, stop), rows in zip(self._bounds, self._table.rows(self._bounds, names), strict=True):
            self._done += stop - start
            if stop - start > 1:
                observations = {name: values for name, values in rows.items() if is_observation(name)}
                columns = {name: values[:-1] for name, values in rows.items() if name not in observations}
                is_closed = bool(self._closed[stop - 1])
                columns[TIMEOUTS] = (np.arange(stop - start - 1) == stop - start - 2) & is_closed
                yield Episode(columns, observations, {}, is_closed)

    def tally(self) -> Tally:
        """Count the transitions; a row that only holds an observation is none."""
        if not self._has_last_rows:
            return super().tally()
        rewards = self._table.column(REWARDS)
        lasts = [stop - 1 for _, stop in self._bounds]
        episodes = sum(stop - start > 1 for start, stop in self._bounds)
        return Tally(episodes, len(rewards) - len(lasts), total_reward(np.delete(rewards, lasts)))

    def metadata(self) -> dict[str, Any]:
        """Describe the archive, and what its name tells."""
        found = super().metadata()
        named = find_ogbench(self.path)
        layout = "regular" if not self._has_last_rows else "compact" if self._is_compact else "raw"
        environment = {"id": named.environment} if named else {}
        dataset = {"dataset": named.dataset, "split": named.split} if named else {}
        return self.with_kept_facts(
            {
                **found,
                "environment": {**environment, "suite": "OGBench", "terminals_end_episodes": False},
                "source": {**found["source"], "layout": layout, **dataset},
                "left_out": [*found["left_out"], *self._lost_rows()],
                "citation": CITATION,
            }
        )

    def _lost_rows(self) -> Iterator[str]:
        if not self._has_last_rows:
            return
        others = [name for name in self._spec.columns if not is_observation(name) and name not in (TIMEOUTS, TERMINALS)]
        if not self._table.has_rewards:
            others.remove(REWARDS)
        yield (
            f"{listed(others)} of the last row of each of {len(self._bounds):,} trajectories, which holds the last "
            "observation and no transition"
        )
        single = sum(stop - start == 1 for start, stop in self._bounds)
        if single:
            yield f"{single:,} trajectories of one row, which hold no transition"
