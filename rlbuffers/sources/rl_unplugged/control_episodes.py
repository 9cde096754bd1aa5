"""RL Unplugged's control suite and locomotion as whole episodes (``*_episodes``): arrival-aligned rewards.

Format: ``rlu_control_suite.py`` and ``rlu_locomotion.py`` of tensorflow/datasets. Each record is a
``tf.train.Example`` of one episode; every list is its T + 1 rows of one feature. ``reward[t]`` and
``discount[t]`` came together with ``observation[t]``: they are the outcome of ``action[t - 1]``, and
index 0 is a placeholder. ``action[t]`` is taken at ``observation[t]``, so the last one is a placeholder.
The same steps in the shuffled files (``pairs.py``) are departure-aligned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.episode import Episode
from rlbuffers.errors import FormatError
from rlbuffers.schema import ACTIONS, REWARDS, TERMINALS, TIMEOUTS, is_observation
from rlbuffers.sources.rl_unplugged.rows import (
    CAMERA_SHAPE,
    DISCOUNTS,
    FIRST_STEP,
    LAST_STEP,
    STEP_TYPES,
    RowsLayout,
    control_column,
    lay_out,
    raw_images,
)
from rlbuffers.sources.rl_unplugged.shards import Record
from rlbuffers.sources.rl_unplugged.tasks import KnownTask
from rlbuffers.sources.rl_unplugged.whole_episodes import WholeEpisodesSource

__all__ = ["EpisodeDecoder", "RLUControlEpisodesSource"]

Array = np.ndarray[Any, Any]
_FACTS = {"episode_id": "episode_ids", "timestamp": "timestamps"}
_FIRST_REWARDED, _LAST_ACTED, _NOT_LAST = (
    "first_rewards_not_zero",
    "last_actions_not_zero",
    "episodes_without_last_step",
)


@dataclass(frozen=True)
class EpisodeDecoder:
    """Turns a record of T + 1 rows into an episode of T transitions; runs in worker processes."""

    layout: RowsLayout

    def __call__(self, piece: Record) -> Episode:
        """Decode a checked record."""
        rows = self.layout.numbers(piece)
        images = {name: raw_images(files, piece.where) for name, files in self.layout.images(piece).items()}
        step_types = rows.pop(STEP_TYPES)
        columns = {ACTIONS: rows.pop(ACTIONS)[:-1]}
        observations = {name: rows.pop(name) for name in list(rows) if is_observation(name)}
        columns.update({name: values[1:] for name, values in rows.items()})
        columns[TERMINALS] = columns[DISCOUNTS] == 0
        columns[TIMEOUTS] = np.zeros(len(columns[REWARDS]), np.bool_)
        columns[TIMEOUTS][-1] = step_types[-1] == LAST_STEP and not columns[TERMINALS][-1]
        whole = bool(columns[TERMINALS][-1] or columns[TIMEOUTS][-1])
        return Episode(columns, {**observations, **images}, self.layout.fact_values(piece), whole)


class RLUControlEpisodesSource(WholeEpisodesSource):
    """One shard of whole episodes of the control suite or locomotion.

    Parameters
    ----------
    path : Path
        The shard; any name.
    task : KnownTask
        What was recorded.
    facts : mapping, optional
        More facts for ``source`` in the metadata.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or its first record is no such episode.
    """

    def __init__(self, path: Path, task: KnownTask, *, facts: Mapping[str, Any] | None = None) -> None:
        super().__init__(path, task, facts=facts)
        self._placeholders: Counter[str] = Counter()

    def lay_out(self, record: Record) -> RowsLayout:
        """Find the shape of a row from the first record."""
        needed = (ACTIONS, REWARDS, DISCOUNTS, STEP_TYPES)
        return lay_out(record, control_column, counted="reward", needed=needed, image_shape=CAMERA_SHAPE, facts=_FACTS)

    @property
    def decoder(self) -> EpisodeDecoder:
        """Decodes records of this shard."""
        return EpisodeDecoder(self._layout)

    def outcomes(self, record: Record) -> tuple[Array, Array]:
        """Return rewards and discounts without the placeholders at index 0."""
        return np.asarray(record.features["reward"])[1:], np.asarray(record.features["discount"])[1:]

    def look_at(self, record: Record) -> None:
        """Count placeholders that are none; published files have NaN for them.

        Raises
        ------
        FormatError
            If the record does not begin with its episode.
        """
        rows = self._layout.num_rows(record)
        actions = np.asarray(record.features["action"]).reshape(rows, -1)
        step_types, rewards = (np.asarray(record.features[name]) for name in ("step_type", "reward"))
        if step_types[0] != FIRST_STEP:
            raise FormatError(
                f"{record.where}: expected an episode from its first step on; shuffled pieces are read with "
                "--layout transitions"
            )
        self._placeholders[_FIRST_REWARDED] += int(not (rewards[0] == 0 or np.isnan(rewards[0])))
        self._placeholders[_LAST_ACTED] += int((actions[-1] != 0).any())
        self._placeholders[_NOT_LAST] += int(step_types[-1] != LAST_STEP)

    def measurements(self) -> dict[str, Any]:
        """Return what was counted."""
        counts = {name: self._placeholders[name] for name in (_FIRST_REWARDED, _LAST_ACTED, _NOT_LAST)}
        return {**super().measurements(), **counts}

    def warnings(self) -> list[str]:
        """Say how the shard differs from what is documented."""
        found = super().warnings()
        if self._placeholders[_FIRST_REWARDED]:
            found.append(
                f"In {self._placeholders[_FIRST_REWARDED]:,} episodes the reward at index 0 is not 0, where the "
                "documented alignment has a placeholder; it is left out."
            )
        return found

    def left_out(self) -> list[str]:
        """Name what is not in the buffer."""
        return [
            *super().left_out(),
            "reward and discount at index 0 of each episode, which precede any action, and the action at its last "
            f"observation (not 0 in {self._placeholders[_LAST_ACTED]:,} episodes), which has no outcome",
        ]

    def notes(self) -> list[str]:
        """Return how the rows were made."""
        return [
            "Rewards and discounts were shifted by one: the file has them at the observation that they came with, the "
            "buffer at the action that they follow. Actions were not shifted.",
            "terminals: discount 0. timeouts: the last step of an episode whose discount is not 0.",
        ]
