"""OGBench's archive (``.npz``), as ``ogbench.utils.load_dataset`` reads it.

The layout is that of OGBench's own files: T transitions are T + 1 rows, the last of which holds the last observation,
and ``terminals`` mark that row. Where a task was done is in ``masks`` (0 there), which OGBench's loader passes over, as
it does ``rewards`` and all other columns; readers of the arrays get them.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.errors import UnsupportedError
from rlbuffers.exports.base import Export, block_rows, episode_blocks, require_episodes
from rlbuffers.exports.kept_steps import KeptSteps
from rlbuffers.exports.npz_members import write_array, write_rows, write_scalars
from rlbuffers.listing import listed
from rlbuffers.reader import Buffer
from rlbuffers.schema import (
    OBSERVATIONS,
    REWARDS,
    TERMINALS,
    TIMEOUTS,
    ColumnSpec,
    next_name,
)
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["OGBenchExport"]

Array = np.ndarray[Any, Any]
_MASKS = "masks"
# Names that mean something to readers of such an archive.
_TAKEN = frozenset({_MASKS, "valids", "next_observations"})


class OGBenchExport(Export):
    """One member a column, each trajectory with a row for its last observation.

    Raises
    ------
    UnsupportedError
        If the buffer has no episodes, or several arrays of observations, or no episode of which a step could be held.
    """

    suffix = ".npz"

    def __init__(self, buffer: Buffer) -> None:
        super().__init__(buffer)
        require_episodes(buffer, "OGBench holds trajectories", "d4rl", "npz")
        if buffer.spec.observation_names != [OBSERVATIONS]:
            raise UnsupportedError(
                f"{buffer.path}: OGBench holds one array of observations, this buffer has "
                f"{listed(buffer.spec.observation_names)}; export to minari or rlds"
            )
        self._kept = KeptSteps(buffer)
        if not self._kept.num_episodes:
            raise UnsupportedError(
                f"{buffer.path}: OGBench needs an observation after each action, and no episode has one; export to "
                "d4rl or npz"
            )
        rewards = buffer.arrays[REWARDS].all()
        has_terminals = TERMINALS in buffer.spec.columns and bool(buffer.arrays[TERMINALS].all().any())
        self._has_rewards = bool(rewards.any()) or has_terminals
        self._columns = [
            name
            for name in buffer.spec.columns
            if name not in {TERMINALS, TIMEOUTS, *_TAKEN} and (self._has_rewards or name != REWARDS)
        ]

    def write(self, path: Path, on_progress: Callable[[int], None]) -> None:
        """Write column by column, in blocks of trajectories."""
        buffer = self.buffer
        count = self._kept.num_steps + self._kept.num_episodes
        flags = {TERMINALS: np.dtype(np.bool_), **({_MASKS: np.dtype(np.float32)} if self._has_rewards else {})}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for number, name in enumerate([*self._columns, *flags]):
                column = ColumnSpec(name, flags[name]) if name in flags else buffer.spec.columns[name]
                done = number * len(buffer) // (len(self._columns) + len(flags))
                write_rows(archive, name, column, count, self._blocks(name, column))
                on_progress(done)
            for name in buffer.spec.extras:
                write_array(archive, name, buffer.extra(name))
            write_scalars(archive, buffer.metadata.get("scalars", {}))
            on_progress(len(buffer))

    def _blocks(self, name: str, column: ColumnSpec) -> Iterator[Array]:
        """Yield rows of a member, with one more after each trajectory."""
        starts, stops = self._kept.starts, self._kept.stops
        for first, last in episode_blocks(starts, stops, block_rows(self.buffer)):
            lengths = (stops - starts)[first:last]
            begins, lengths = starts[first:last][lengths > 0], lengths[lengths > 0]
            steps = np.concatenate([np.arange(0), *map(np.arange, begins, begins + lengths)])
            lasts = np.cumsum(lengths + 1) - 1
            rows = np.zeros((len(steps) + len(lengths), *column.shape), column.dtype)
            is_step = np.ones(len(rows), bool)
            is_step[lasts] = False
            rows[is_step] = self._steps(name, steps)
            if name == OBSERVATIONS:
                following = next_name(OBSERVATIONS)
                rows[lasts] = self.buffer.rows(begins + lengths - 1, [following])[following]
            elif name in (TERMINALS, _MASKS):
                rows[lasts] = 1
            yield rows

    def _steps(self, name: str, steps: Array) -> Array:
        if name == TERMINALS:
            return np.zeros(len(steps), bool)
        if name == _MASKS:
            known = TERMINALS in self.buffer.spec.columns
            return ~self.buffer.rows(steps, [TERMINALS])[TERMINALS] if known else np.ones(len(steps), bool)
        return self.buffer.rows(steps, [name])[name]

    def expected(self, before: Tally) -> Tally:
        """Take off what the format cannot hold."""
        return self._kept.expected(before)

    def tally(self, path: Path) -> Tally:
        """Load terminals and rewards with NumPy, and count as OGBench's loader does."""
        with np.load(path, allow_pickle=False) as archive:
            steps = ~archive[TERMINALS]
            rewards = archive[REWARDS][steps] if REWARDS in archive else np.zeros(0)
        return Tally(int((~steps).sum()), int(steps.sum()), total_reward(rewards))

    def left_out(self) -> Sequence[str]:
        """Name what the format does not tell."""
        buffer = self.buffer
        found = [*self._kept.left_out()]
        untimed = self._kept.num_untimed
        if untimed:
            found.append(
                f"that {untimed:,} episodes did not end by a time limit: every end of a trajectory is read as the end "
                "of a recording, and masks == 0 as the end of the task"
            )
        if buffer.spec.episode_columns:
            found.append(f"what each episode has once: {listed(buffer.spec.episode_columns)}")
        taken = sorted(_TAKEN & set(buffer.spec.columns))
        if taken:
            found.append(f"columns whose names mean something else there: {listed(taken)}")
        if self._has_rewards:
            found.append("rewards and masks, for OGBench's own loader, which does not read them")
        return found
