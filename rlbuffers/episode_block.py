"""Many whole episodes as one block of rows: what buffers hand to buffers, without a step in Python for each episode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rlbuffers.episode import check_rows
from rlbuffers.errors import SpecError
from rlbuffers.listing import unlike
from rlbuffers.schema import (
    EPISODE_FINAL_KNOWN,
    EPISODE_LENGTHS,
    EPISODE_WHOLE,
    EPISODES_GROUP,
    FRAMES,
    OBSERVATIONS,
    REWARDS,
    BufferSpec,
    final_name,
)

__all__ = ["EpisodeBlock"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class EpisodeBlock:
    """E episodes of N transitions in all, as they are stored: one after the other.

    Parameters
    ----------
    columns : mapping of name to array of N rows
        Every column of the spec; without ``observations`` where frames are stacked.
    finals : mapping of name to array
        Of each observation column the E observations after the last action, zero where not known.
        With ``spec.stack`` = k it is ``{"frames": (N + E k, height, width)}``, all frames of the
        episodes; the last frame of an episode is zero where it is not known.
    lengths : int64, shape (E,)
        Steps of each episode, at least 1; they sum to N.
    whole, final_known : bool, shape (E,)
        As in the stored arrays of these names.
    facts : mapping of name to array of E rows
        The spec's episode columns.
    """

    columns: Mapping[str, Array]
    finals: Mapping[str, Array]
    lengths: Array
    whole: Array
    final_known: Array
    facts: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.columns[REWARDS])

    @property
    def num_episodes(self) -> int:
        """Number of episodes."""
        return len(self.lengths)

    def rows_of(self, spec: BufferSpec) -> dict[str, Array]:
        """Check the block against `spec` and return its rows by stored array name.

        Raises
        ------
        SpecError
            If an array is missing, unknown, of another dtype or shape, or of another length.
        """
        observed = spec.observation_names
        for what, got, wanted in (
            ("columns", set(self.columns), set(spec.columns) - (set(observed) if spec.stack else set())),
            ("finals", set(self.finals), {FRAMES} if spec.stack else set(observed)),
            ("facts", set(self.facts), set(spec.episode_columns)),
        ):
            if got != wanted:
                raise SpecError(f"a block of episodes has {what} {unlike(got, wanted)}")
        episodes, steps = self.num_episodes, len(self)
        rows: dict[str, Array] = {}

        def add(name: str, values: Array, dtype: Any, shape: tuple[int, ...], count: int) -> None:
            rows[name] = check_rows(name, values, np.dtype(dtype), shape)
            if len(rows[name]) != count:
                raise SpecError(f"{name!r}: expected {count} rows for {episodes} episodes, got {len(rows[name])}")

        add(EPISODE_LENGTHS, self.lengths, np.int64, (), episodes)
        add(EPISODE_WHOLE, self.whole, np.bool_, (), episodes)
        add(EPISODE_FINAL_KNOWN, self.final_known, np.bool_, (), episodes)
        if episodes == 0 or self.lengths.min() < 1 or self.lengths.sum() != steps:
            raise SpecError(f"lengths: expected at least one episode of one step, {steps} steps in all")
        for name, values in self.columns.items():
            add(name, values, spec.columns[name].dtype, spec.columns[name].shape, steps)
        for name, values in self.facts.items():
            column = spec.episode_columns[name]
            add(f"{EPISODES_GROUP}/{name}", values, column.dtype, column.shape, episodes)
        for name, values in self.finals.items():
            column = spec.columns[OBSERVATIONS if spec.stack else name]
            shape, count = (column.shape[1:], steps + episodes * spec.stack) if spec.stack else (column.shape, episodes)
            add(FRAMES if spec.stack else final_name(name), values, column.dtype, shape, count)
            self._require_zeros(name, values, spec.stack)
        return rows

    def _require_zeros(self, name: str, values: Array, stack: int) -> None:
        unknown = np.flatnonzero(~self.final_known)
        places = np.cumsum(self.lengths + stack)[unknown] - 1 if stack else unknown
        if values[places].any():
            raise SpecError(f"{name!r}: expected zeros where the last observation of an episode is not known")
