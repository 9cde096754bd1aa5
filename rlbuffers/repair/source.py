"""What is kept of a damaged buffer as a source, in blocks of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rlbuffers.episode import Transitions
from rlbuffers.episode_block import EpisodeBlock
from rlbuffers.repair.damaged import DamagedBuffer
from rlbuffers.repair.salvage_plan import SalvagePlan
from rlbuffers.schema import (
    EPISODES_GROUP,
    EXTRAS_GROUP,
    FRAMES,
    NEXT_OBSERVATIONS,
    OBSERVATIONS,
    OVERRIDE_OBSERVATIONS,
    REWARDS,
    BufferSpec,
    final_name,
)
from rlbuffers.sources.base import Rows, RowSource
from rlbuffers.sources.buffer_selection import DERIVED_METADATA
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["SalvageSource"]

Array = np.ndarray[Any, Any]
_BLOCK_BYTES = 16 << 20


class SalvageSource(RowSource[Rows]):
    """The episodes or rows that a plan keeps.

    Parameters
    ----------
    damaged : DamagedBuffer
        Where they are.
    plan : SalvagePlan
        Which they are.
    facts : mapping
        Metadata beside those of the buffer.
    """

    def __init__(self, damaged: DamagedBuffer, plan: SalvagePlan, facts: Mapping[str, Any]) -> None:
        self._damaged = damaged
        self._plan = plan
        self._facts = facts
        self._done = 0
        self._reward_sum = 0.0

    @property
    def where(self) -> str:
        """Path of the damaged buffer."""
        return str(self._damaged.path)

    @property
    def spec(self) -> BufferSpec:
        """The plan's."""
        return self._plan.spec

    def pieces(self) -> Iterator[Rows]:
        """Yield blocks of neighbors that are kept."""
        read = self._episodes if self.spec.layout == "episodes" else self._transitions
        for block in self._runs():
            piece = read(block)
            self._done += len(piece)
            self._reward_sum += total_reward(piece.columns[REWARDS])
            yield piece

    def _runs(self) -> Iterator[slice]:
        """Cut what is kept where something between is lost, and where a block is full."""
        kept, lengths = self._plan.kept, self._plan.lengths
        gaps = np.flatnonzero(np.diff(kept) != 1) + 1
        limit = max(_BLOCK_BYTES // self._row_bytes(), 1)
        for start, stop in zip([0, *gaps.tolist()], [*gaps.tolist(), len(kept)], strict=True):
            ends = np.cumsum(lengths[start:stop])
            first = 0
            while first < len(ends):
                done = int(ends[first - 1]) if first else 0
                last = max(int(np.searchsorted(ends, done + limit, side="right")), first + 1)
                yield slice(start + first, start + last)
                first = last

    def _row_bytes(self) -> int:
        arrays = [self._damaged.stated[name].spec for name in self._stored_columns()]
        frames = self._damaged.stated[FRAMES].spec.row_bytes if self.spec.stack else 0
        frames_a_row = 1 if self.spec.layout == "episodes" else self.spec.stack + 1
        return max(sum(array.row_bytes for array in arrays) + frames * frames_a_row, 1)

    def _stored_columns(self) -> Sequence[str]:
        stacked = (OBSERVATIONS, NEXT_OBSERVATIONS) if self.spec.stack else ()
        return [name for name in self.spec.columns if name not in stacked]

    def _columns(self, start: int, stop: int) -> dict[str, Array]:
        return {name: self._damaged.arrays[name].rows(start, stop) for name in self._stored_columns()}

    def _episodes(self, block: slice) -> EpisodeBlock:
        plan, arrays, stack = self._plan, self._damaged.arrays, self.spec.stack
        first, last = int(plan.kept[block][0]), int(plan.kept[block][-1])
        start, stop = int(plan.starts[block][0]), int(plan.starts[block][-1] + plan.lengths[block][-1])
        lengths, known = plan.lengths[block], plan.final_known[block]
        if stack:
            finals = {FRAMES: arrays[FRAMES].rows(start + first * stack, stop + (last + 1) * stack)}
            finals[FRAMES][np.cumsum(lengths + stack)[~known] - 1] = 0
        else:
            finals = {name: arrays[final_name(name)].rows(first, last + 1) for name in self.spec.observation_names}
            for values in finals.values():
                values[~known] = 0
        facts = {name: arrays[f"{EPISODES_GROUP}/{name}"].rows(first, last + 1) for name in self.spec.episode_columns}
        return EpisodeBlock(self._columns(start, stop), finals, lengths, plan.whole[block], known, facts)

    def _transitions(self, block: slice) -> Transitions:
        arrays, stack = self._damaged.arrays, self.spec.stack
        start, stop = int(self._plan.kept[block][0]), int(self._plan.kept[block][-1]) + 1
        columns = self._columns(start, stop)
        if not stack:
            return Transitions(columns)
        windows = arrays[FRAMES].rows(start * (stack + 1), stop * (stack + 1))
        overrides = self._plan.override_rows
        chosen = np.flatnonzero((overrides >= start) & (overrides < stop))
        low, high = (int(chosen[0]), int(chosen[-1]) + 1) if len(chosen) else (0, 0)
        return Transitions(
            columns,
            windows.reshape(stop - start, stack + 1, *windows.shape[1:]),
            overrides[low:high] - start,
            arrays[OVERRIDE_OBSERVATIONS].rows(low, high),
        )

    def extras(self) -> Mapping[str, Array]:
        """Return the extras that are kept."""
        names = {name: f"{EXTRAS_GROUP}/{name}" for name in self.spec.extras}
        return {
            name: self._damaged.arrays[full].rows(0, self._damaged.stated[full].num_rows)
            for name, full in names.items()
        }

    def tally(self) -> Tally:
        """Count what was handed out."""
        episodes = len(self._plan.kept) if self.spec.layout == "episodes" else None
        return Tally(episodes, self._done, self._reward_sum)

    def metadata(self) -> dict[str, Any]:
        """Return the facts of the buffer and those about the repair."""
        known = {name: value for name, value in self._damaged.metadata.items() if name not in DERIVED_METADATA}
        return {**known, **self._facts}

    @property
    def total(self) -> int:
        """Number of transitions that are kept."""
        return self._plan.num_rows

    @property
    def done(self) -> int:
        """Number of transitions handed out."""
        return self._done
