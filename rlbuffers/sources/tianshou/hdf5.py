"""Tianshou's saved replay buffers (``ReplayBuffer.save_hdf5``): rings of rows, put back into the order of time.

- A full ring is read from its oldest row on; what stood there before is lost, so the first episode of such a ring
  may lack its beginning. Buffers of several environments are read one after the other (``env_indices``).
- An episode ends at ``done``, and where the recording of its ring stopped.
- ``obs_next``, where it was saved, holds the last observation of each episode; elsewhere that one is not known.
- Frames that Tianshou stacks when it samples are stored once; it repeats an episode's first frame before it. Stacks
  that were saved whole are stored once too, if each moves on by one frame a step.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.episode import Episode
from rlbuffers.reader_versions import source_facts
from rlbuffers.schema import (
    FRAMES,
    NEXT_OBSERVATIONS,
    OBSERVATIONS,
    REWARDS,
    TERMINALS,
    TIMEOUTS,
    BufferSpec,
    ColumnSpec,
    is_observation,
    next_name,
)
from rlbuffers.sources.base import FileSource
from rlbuffers.sources.files import file_facts
from rlbuffers.sources.flat_columns import episode_bounds
from rlbuffers.sources.flat_ends import reset_warnings, unmarked_resets
from rlbuffers.sources.tianshou.file import DONE, TianshouFile
from rlbuffers.sources.tianshou.ring import Ring
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["TianshouSource"]

Array = np.ndarray[Any, Any]
Columns = dict[str, Array]
_FLAGS = (TERMINALS, TIMEOUTS, DONE)


class TianshouSource(FileSource[Episode]):
    """One saved buffer, as whole episodes.

    Memory is bounded by the longest episode and a block of rows: 16 MB, or as many whole chunks of a compressed file
    as 256 MB hold. The flags are held as a whole.

    Parameters
    ----------
    path : str or Path
        The file.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or it is not such a file; says what was expected.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._file = TianshouFile(self.path)
        self.kept = self._file.kept
        columns = self._file.columns
        self._observed = [name for name in columns if is_observation(name)]
        self._has_next = next_name(self._observed[0]) in columns
        self._flags = {name: self._file.whole(name) for name in _FLAGS if name in columns}
        self._resets = 0
        self._rows_are_frames = self._file.stack_num > 1 and self._is_images(dimensions=2)
        rows_are_stacks = not self._rows_are_frames and self._is_images(dimensions=3) and self._stacks_move_on()
        self._stack = self._file.stack_num if self._rows_are_frames else 0
        if rows_are_stacks:
            self._stack = columns[OBSERVATIONS].shape[0]

    def _is_images(self, *, dimensions: int) -> bool:
        """Whether a row's observation is one uint8 array: (H, W), or (k, H, W) with k > 1."""
        column = self._file.columns.get(OBSERVATIONS)
        fits = column is not None and column.dtype == np.uint8 and len(column.shape) == dimensions
        return fits and column is not None and (dimensions == 2 or column.shape[0] > 1)

    def _stacks_move_on(self) -> bool:
        """Whether each stack within an episode repeats the one before it, but for one frame."""
        names = [*self._observation_names(), *self._flags]
        for ring in self._file.rings:
            for rows, _ in self._cut(ring, names):
                stacks = rows[OBSERVATIONS]
                if not np.array_equal(stacks[1:, :-1], stacks[:-1, 1:]):
                    return False
                if self._has_next and not np.array_equal(rows[NEXT_OBSERVATIONS][-1, :-1], stacks[-1, 1:]):
                    return False
        return True

    def _observation_names(self) -> list[str]:
        return [*self._observed, *(next_name(name) for name in self._observed if self._has_next)]

    @property
    def spec(self) -> BufferSpec:
        """Episodes; stacks of frames where the observations are such."""
        derived = {DONE, *(next_name(name) for name in self._observed)}
        columns = {name: column for name, column in self._file.columns.items() if name not in derived}
        if self._rows_are_frames:
            frame = columns[OBSERVATIONS]
            columns[OBSERVATIONS] = ColumnSpec(OBSERVATIONS, frame.dtype, (self._stack, *frame.shape))
        return self.with_kept(
            BufferSpec(
                layout="episodes",
                columns=columns,
                stack=self._stack,
                episode_columns=[ColumnSpec("env_indices", np.dtype(np.int64))] if self._file.is_vector else [],
            )
        )

    def pieces(self) -> Iterator[Episode]:
        """Yield the episodes of each ring in turn, oldest first."""
        for number, ring in enumerate(self._file.rings):
            facts = {"env_indices": number} if self._file.is_vector else {}
            begins = ring.overwritten is False
            for rows, is_reset in self._cut(ring, list(self._file.columns)):
                ended = any(bool(rows[name][-1]) for name in (TERMINALS, TIMEOUTS) if name in rows)
                self._resets += is_reset
                self._done += len(rows[REWARDS])
                observations = self._observations_of(rows)
                yield Episode(rows, observations, facts, whole=begins and ended)
                begins = True

    def _cut(self, ring: Ring, names: list[str]) -> Iterator[tuple[Columns, bool]]:
        """Yield the rows of each episode, and whether it was cut where no flag says so."""
        held: list[Columns] = []
        for block in self._file.blocks(ring, names):
            ends = np.logical_or.reduce([block[name] for name in self._flags])
            if held and self._is_jump(held[-1], block):
                yield _joined(held), True
                held = []
            resets = unmarked_resets(block, ends)
            for start, stop in episode_bounds(ends | resets):
                held.append({name: rows[start:stop] for name, rows in block.items()})
                if ends[stop - 1] or resets[stop - 1]:
                    yield _joined(held), bool(resets[stop - 1])
                    held = []
        if held:
            yield _joined(held), False

    def _is_jump(self, before: Columns, after: Columns) -> bool:
        border = {name: np.concatenate([before[name][-1:], after[name][:1]]) for name in self._observation_names()}
        return bool(unmarked_resets(border, np.zeros(2, bool))[0])

    def _observations_of(self, rows: Columns) -> Columns:
        """Take the observations out of an episode's rows, with the last one if it is known."""
        rows.pop(DONE, None)
        observations = {}
        for name in self._observed:
            parts = [rows.pop(name)]
            if self._has_next:
                parts.append(rows.pop(next_name(name))[-1:])
            observations[name] = np.concatenate(parts)
        if not self._stack:
            return observations
        images = observations[OBSERVATIONS]
        if self._rows_are_frames:
            return {FRAMES: np.concatenate([np.repeat(images[:1], self._stack - 1, axis=0), images])}
        return {FRAMES: np.concatenate([images[0], images[1:, -1]])}

    def tally(self) -> Tally:
        """Count the ends among the flags, and sum the rewards, of the rows that each ring holds."""
        episodes = self._resets + self._num_flagged() + self._num_unfinished()
        rewards = sum(total_reward(rows) for rows in self._file.whole(REWARDS))
        return Tally(episodes, self._file.num_rows, rewards)

    def _ends(self) -> list[Array]:
        """Return for each ring which rows a flag says are the last of an episode."""
        return [np.logical_or.reduce(flags) for flags in zip(*self._flags.values(), strict=True)]

    def _num_flagged(self) -> int:
        return sum(int(ends.sum()) for ends in self._ends())

    def _num_unfinished(self) -> int:
        return sum(bool(len(ends)) and not ends[-1] for ends in self._ends())

    def metadata(self) -> dict[str, Any]:
        """Describe the file, and what its rings tell."""
        return self.with_kept_facts(
            {
                "environment": {},
                "behavior_policy": {},
                "source": source_facts("tianshou", files=[file_facts(self.path)], buffer=self._file.settings),
                "measurements": self._measurements(),
                "warnings": self._warnings(),
                "left_out": self._file.left_out,
                "license": "",
                "citation": "",
                "notes": self._notes(),
            }
        )

    def _measurements(self) -> dict[str, Any]:
        rings = [ring for ring in self._file.rings if len(ring)]
        return {
            "sub_buffers": len(self._file.rings),
            "wrapped_around": sum(ring.overwritten is True for ring in rings),
            "beginnings_lost_or_in_doubt": sum(ring.overwritten is not False for ring in rings),
            "unfinished_episodes": self._num_unfinished(),
            **({"unmarked_resets": self._resets} if self._resets else {}),
        }

    def _warnings(self) -> list[str]:
        found = [*self._file.warnings, *reset_warnings(self._resets)]
        if TIMEOUTS not in self._file.columns:
            found.append(
                "The file does not tell truncated episodes from terminated ones: every end is a terminal here, also "
                "where a time limit cut the episode. Values learned from it are too low there."
            )
        unreasoned = 0
        if DONE in self._flags and TIMEOUTS in self._flags:
            flags = zip(*(self._flags[name] for name in _FLAGS), strict=True)
            unreasoned = sum(int((done & ~terminal & ~timeout).sum()) for terminal, timeout, done in flags)
        if unreasoned:
            found.append(
                f"{unreasoned:,} rows are done but neither terminated nor truncated. The episode is cut there, and "
                "episodes/whole is False."
            )
        return found

    def _notes(self) -> list[str]:
        found = []
        in_doubt = sum(ring.overwritten is None and len(ring) > 0 for ring in self._file.rings)
        if any(ring.overwritten for ring in self._file.rings):
            found.append(
                "A full buffer overwrites its oldest rows: the first episode of each that had wrapped around may lack "
                "its beginning, and episodes/whole is False."
            )
        if in_doubt:
            found.append(
                f"{in_doubt:,} buffers are full to their last row. Whether older rows were overwritten cannot be told, "
                "so episodes/whole of the first episode is False."
            )
        if self._rows_are_frames:
            found.append("Before an episode's first frame its stacks repeat it, as Tianshou's do.")
        elif self._file.stack_num > 1 and not self._stack:
            found.append(
                f"The buffer stacked {self._file.stack_num} observations when it was sampled (stack_num). Here they "
                "are single, as they were saved."
            )
        if not self._has_next:
            found.append("obs_next was not saved: the last observation of each episode is not known.")
        return found

    @property
    def total(self) -> int:
        """Number of rows."""
        return self._file.num_rows


def _joined(parts: list[Columns]) -> Columns:
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
