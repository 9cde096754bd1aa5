"""RL Unplugged's real-world RL suite: whole episodes in which even the actions are arrival-aligned.

Format: ``rl_unplugged/rwrl.py`` of google-deepmind/deepmind-research and ``rlu_rwrl.py`` of
tensorflow/datasets. The files are TFRecord without compression. Each record is a ``tf.train.Example``
of one episode of 1,001 rows, flattened into lists of floats; nested names are joined by ``:``.
``action[t]``, ``reward[t]`` and ``discount[t]`` came before ``observation[t]``, so all three are shifted
by one, and index 0 of each is a placeholder. There is no step type: an episode of full length that is
not terminal has ended by its time limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.episode import Episode
from rlbuffers.schema import ACTIONS, REWARDS, TERMINALS, TIMEOUTS, is_observation
from rlbuffers.sources.rl_unplugged.rows import CAMERA_SHAPE, DISCOUNTS, RowsLayout, lay_out
from rlbuffers.sources.rl_unplugged.shards import Record
from rlbuffers.sources.rl_unplugged.tasks import KnownTask
from rlbuffers.sources.rl_unplugged.whole_episodes import WholeEpisodesSource

__all__ = ["RLURwrlSource", "RwrlDecoder"]

Array = np.ndarray[Any, Any]
_COLUMNS = {"action": ACTIONS, "reward": REWARDS, "discount": DISCOUNTS, "observation": "observations"}
_PLACEHOLDERS = {"action": (0, -1), "reward": (0,)}


def _column(feature: str) -> str | None:
    if feature.startswith("observation:"):
        return f"observations/{feature.removeprefix('observation:').replace(':', '/')}"
    return _COLUMNS.get(feature)


@dataclass(frozen=True)
class RwrlDecoder:
    """Turns a record of T + 1 rows into an episode of T transitions; runs in worker processes.

    Parameters
    ----------
    layout : RowsLayout
        What the records look like.
    full_rows : int
        Rows of an episode that lasted until its time limit.
    """

    layout: RowsLayout
    full_rows: int | None

    def __call__(self, piece: Record) -> Episode:
        """Decode a checked record."""
        rows = self.layout.numbers(piece)
        observations = {name: rows.pop(name) for name in list(rows) if is_observation(name)}
        num_rows = len(rows[REWARDS])
        columns = {name: values[1:] for name, values in rows.items()}
        columns[TERMINALS] = columns[DISCOUNTS] == 0
        columns[TIMEOUTS] = np.zeros(num_rows - 1, np.bool_)
        columns[TIMEOUTS][-1] = num_rows == self.full_rows and not columns[TERMINALS][-1]
        return Episode(columns, observations, whole=bool(columns[TERMINALS][-1] or columns[TIMEOUTS][-1]))


class RLURwrlSource(WholeEpisodesSource):
    """One shard of episodes of the real-world RL suite.

    Parameters
    ----------
    path : Path
        The shard, not compressed; any name.
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
        super().__init__(path, task, gzipped=False, facts=facts)
        self._meaningful = 0

    def lay_out(self, record: Record) -> RowsLayout:
        """Find the shape of a row from the first record."""
        needed = (ACTIONS, REWARDS, DISCOUNTS)
        return lay_out(record, _column, counted="reward", needed=needed, image_shape=CAMERA_SHAPE)

    @property
    def decoder(self) -> RwrlDecoder:
        """Decodes records of this shard."""
        return RwrlDecoder(self._layout, self.task.num_rows)

    def outcomes(self, record: Record) -> tuple[Array, Array]:
        """Return rewards and discounts without the placeholders at index 0."""
        return np.asarray(record.features["reward"])[1:], np.asarray(record.features["discount"])[1:]

    def look_at(self, record: Record) -> None:
        """Count placeholders that are none: published files have actions of -1 and rewards of 0."""
        rows = self._layout.num_rows(record)
        for name, placeholders in _PLACEHOLDERS.items():
            first = np.asarray(record.features[name]).reshape(rows, -1)[0]
            if not any((first == value).all() for value in placeholders) and not np.isnan(first).all():
                self._meaningful += 1
                break

    def measurements(self) -> dict[str, Any]:
        """Return what was counted."""
        return {**super().measurements(), "placeholders_with_meaning": self._meaningful}

    def warnings(self) -> list[str]:
        """Say how the shard differs from what is documented."""
        found = super().warnings()
        if self._meaningful:
            found.append(
                f"In {self._meaningful:,} episodes action or reward at index 0 is not the placeholder (-1 or 0) of the "
                "documented alignment; they are left out."
            )
        return found

    def left_out(self) -> list[str]:
        """Name what is not in the buffer."""
        return [
            *super().left_out(),
            "action, reward and discount at index 0 of each episode, which precede the first observation",
        ]

    def notes(self) -> list[str]:
        """Return how the rows were made."""
        return [
            "Actions, rewards and discounts were shifted by one: the file has each at the observation that followed.",
            f"terminals: discount 0. timeouts: the last step of an episode of {self.task.num_rows or 0:,} rows whose "
            "discount is not 0; the file marks no time limits.",
        ]
