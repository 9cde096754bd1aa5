"""RL Unplugged's DeepMind Lab: episodes of fixed length, with images.

Format: ``rl_unplugged/dmlab_r2d2.ipynb`` of google-deepmind/deepmind-research and ``dmlab_dataset.py``
of tensorflow/datasets. Each record is a ``tf.train.Example`` of one episode of N rows: PNGs, the last
action and the last reward as parts of the observation, and actions, rewards and discounts that follow
it. The PNGs were written by OpenCV from RGB arrays, so a PNG decoder gives BGR; the channels are put
right here.

All levels have one row more than steps fit into their time (1,801 for 1,800 steps), and RLDS marks the
last row as one in which only the observation counts. So the last row is read as the final observation,
unless the caller knows better.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rlbuffers.decoding.images import decode_images
from rlbuffers.episode import Episode
from rlbuffers.schema import ACTIONS, REWARDS, TERMINALS, TIMEOUTS, is_observation
from rlbuffers.sources.rl_unplugged.rows import DISCOUNTS, RowsLayout, lay_out
from rlbuffers.sources.rl_unplugged.shards import Record
from rlbuffers.sources.rl_unplugged.tasks import KnownTask
from rlbuffers.sources.rl_unplugged.whole_episodes import WholeEpisodesSource

__all__ = ["DmlabDecoder", "LastRow", "RLUDmlabSource"]

Array = np.ndarray[Any, Any]
LastRow = Literal["observation", "transition"]
IMAGE_SHAPE = (72, 96, 3)
_COLUMNS = {
    "actions": ACTIONS,
    "rewards": REWARDS,
    "discounts": DISCOUNTS,
    "discounted_rewards": "discounted_rewards",
    "observations_pixels": "observations/pixels",
    "observations_reward": "observations/reward",
    "observations_action": "observations/action",
}
_FACTS = {"episode_id": "episode_ids", "start_idx": "start_indices", "episode_return": "episode_returns"}
_LAST_REWARDED, _LAST_ACTED = "last_rows_with_reward", "last_rows_with_action"
_ECHOES, _ECHOED, _HERE = "rewards_compared", "rewards_seen_one_row_later", "rewards_seen_in_their_row"


@dataclass(frozen=True)
class DmlabDecoder:
    """Turns a record of N rows into an episode; runs in worker processes.

    Parameters
    ----------
    layout : RowsLayout
        What the records look like.
    full_rows : int or None
        Rows of an episode that lasted until its time limit.
    last_row : {"observation", "transition"}
        What the last row is.
    """

    layout: RowsLayout
    full_rows: int | None
    last_row: LastRow

    def __call__(self, piece: Record) -> Episode:
        """Decode a checked record."""
        rows = self.layout.numbers(piece)
        observations = {name: rows.pop(name) for name in list(rows) if is_observation(name)}
        for name, files in self.layout.images(piece).items():
            decoded = decode_images(files, IMAGE_SHAPE, piece.where, extra="images")
            observations[name] = np.ascontiguousarray(decoded[..., ::-1])  # BGR to RGB
        num_rows = len(rows[REWARDS])
        count = num_transitions(num_rows, self.last_row)
        columns = {name: values[:count] for name, values in rows.items()}
        columns[TERMINALS] = columns[DISCOUNTS] == 0
        columns[TIMEOUTS] = np.zeros(count, np.bool_)
        columns[TIMEOUTS][-1] = num_rows == self.full_rows and not columns[TERMINALS][-1]
        whole = bool(columns[TERMINALS][-1] or columns[TIMEOUTS][-1])
        return Episode(columns, observations, self.layout.fact_values(piece), whole)


def num_transitions(num_rows: int, last_row: LastRow) -> int:
    """Return how many transitions an episode of that many rows has."""
    return num_rows - (last_row == "observation")


class RLUDmlabSource(WholeEpisodesSource):
    """One shard of episodes of a DeepMind Lab level.

    Parameters
    ----------
    path : Path
        The shard; any name.
    task : KnownTask
        What was recorded.
    last_row : {"observation", "transition"}, default "observation"
        What the last row of an episode is: only the final observation, or a transition whose next
        observation the file does not hold.
    facts : mapping, optional
        More facts for ``source`` in the metadata.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or its first record is no such episode.
    """

    def __init__(
        self,
        path: Path,
        task: KnownTask,
        *,
        last_row: LastRow = "observation",
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(path, task, facts=facts)
        self._last_row: LastRow = last_row
        self._seen: Counter[str] = Counter()

    def lay_out(self, record: Record) -> RowsLayout:
        """Find the shape of a row from the first record."""
        needed = (ACTIONS, REWARDS, DISCOUNTS, "observations/pixels")
        return lay_out(record, _COLUMNS.get, counted="rewards", needed=needed, image_shape=IMAGE_SHAPE, facts=_FACTS)

    @property
    def decoder(self) -> DmlabDecoder:
        """Decodes records of this shard."""
        return DmlabDecoder(self._layout, self.task.num_rows, self._last_row)

    def outcomes(self, record: Record) -> tuple[Array, Array]:
        """Return rewards and discounts of the rows that are transitions."""
        rewards, discounts = (np.asarray(record.features[name]) for name in ("rewards", "discounts"))
        count = num_transitions(len(rewards), self._last_row)
        return rewards[:count], discounts[:count]

    def look_at(self, record: Record) -> None:
        """Compare rewards with what the observations say of them, and look at the last row."""
        rewards, actions = (np.asarray(record.features[name]) for name in ("rewards", "actions"))
        self._seen[_LAST_REWARDED] += int(rewards[-1] != 0)
        self._seen[_LAST_ACTED] += int(actions[-1] != 0)
        if "observations_reward" in self._layout.columns:
            observed = np.asarray(record.features["observations_reward"])
            # Zeros agree with each other wherever they stand.
            told = (rewards[:-1] != 0) | (observed[1:] != 0)
            self._seen[_ECHOES] += int(told.sum())
            self._seen[_ECHOED] += int((rewards[:-1] == observed[1:])[told].sum())
            self._seen[_HERE] += int((rewards[1:] == observed[1:])[told].sum())

    def measurements(self) -> dict[str, Any]:
        """Return what was counted."""
        names = (_ECHOES, _ECHOED, _HERE, _LAST_REWARDED, _LAST_ACTED)
        return {
            **super().measurements(),
            "last_row_read_as": self._last_row,
            **{name: self._seen[name] for name in names},
        }

    def warnings(self) -> list[str]:
        """Say how the shard differs from what is documented."""
        found = super().warnings()
        if self._last_row == "observation" and self._seen[_LAST_REWARDED]:
            found.append(
                f"In {self._seen[_LAST_REWARDED]:,} episodes the last row has a reward, which a bare final observation "
                "would not; convert with --last-row transition to keep it."
            )
        if self._seen[_HERE] > self._seen[_ECHOED]:
            found.append(
                "The observed last rewards agree with the rewards of their own row more often than with those of the "
                "row before: rewards and actions seem to stand one row later than documented. They are stored as "
                "documented."
            )
        return found

    def left_out(self) -> list[str]:
        """Name what is not in the buffer."""
        bare = self._last_row == "observation"
        text = "action, reward and discounts of each episode's last row, which is read as the final observation only"
        return [*super().left_out(), *([text] if bare else [])]

    def notes(self) -> list[str]:
        """Return how the rows were made."""
        return [
            "Nothing was shifted: actions, rewards and discounts follow the observation of their row; "
            "observations/action and observations/reward are those before it.",
            "The images' channels were put in the order red, green, blue.",
            "terminals: discount 0. timeouts: the last step of an episode of the level's fixed length whose discount "
            "is not 0. The levels end by time only, and the TFDS version of these files marks no terminal at all.",
        ]
