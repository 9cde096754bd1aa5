"""RL Unplugged's Atari episodes: GZIP TFRecord files whose records are whole episodes.

Format: ``rl_unplugged/atari_utils.py`` of tensorflow/datasets. Each record is a ``tf.train.Example``
with one PNG, action, clipped and unclipped reward and discount a step, and once what names the episode and two returns:
``checkpoint_idx`` and ``episode_idx`` in the bucket ``atari_episodes_ordered``, ``episode_id`` in the older
``atari_episodes``. An episode is terminal if its last discount is 0. Where the rewards stand is told in
``atari_records.py``, and measured on every shard (``reward_alignment.py``).

Memory is bounded by the longest episode: 7 KB a frame in each process that decodes, a few times that
in the one that writes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.decoding.tfrecord import RecordBatch
from rlbuffers.episode import Episode
from rlbuffers.errors import UsageError
from rlbuffers.schema import ACTIONS, FRAMES, OBSERVATIONS, REWARDS, TERMINALS, TIMEOUTS, BufferSpec, ColumnSpec
from rlbuffers.sources.base import Rows
from rlbuffers.sources.dqn_runs import BEHAVIOR, SIZE, environment_facts
from rlbuffers.sources.rl_unplugged.atari_records import (
    CLIPPED_REWARDS,
    DISCOUNTS,
    INTEGERS,
    UNCLIPPED_REWARDS,
    EpisodeDecoder,
    EpisodeRecords,
    records_like,
)
from rlbuffers.sources.rl_unplugged.games import ATARI_GAMES, check_game
from rlbuffers.sources.rl_unplugged.reward_alignment import EpisodeAlignment
from rlbuffers.sources.rl_unplugged.shards import Record, ShardSource, parsed_records
from rlbuffers.sources.rl_unplugged.tasks import KnownTask
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["RLUAtariEpisodesSource"]

Array = np.ndarray[Any, Any]


class RLUAtariEpisodesSource(ShardSource[RecordBatch]):
    """One shard of RL Unplugged Atari episodes: what one checkpoint of a training run played.

    Parameters
    ----------
    path : Path
        The shard; any name.
    game : str
        Name of the game in the suite; tells the number of actions.
    stack : int, default 4
        Frames in an observation; the first ones of an episode are padded with zeros.
    facts : mapping, optional
        More facts for ``source`` in the metadata: run, shard, URL.

    Raises
    ------
    BufferNotFoundError, UsageError
        If there is no such file, game or stack.
    """

    def __init__(self, path: Path, game: str, *, stack: int = 4, facts: Mapping[str, Any] | None = None) -> None:
        if stack < 1:
            raise UsageError(f"stack {stack}: expected at least 1 frame")
        task = KnownTask(
            check_game(game),
            "RL Unplugged Atari",
            BEHAVIOR,
            num_actions=ATARI_GAMES[game],
            environment=environment_facts(stack),
        )
        super().__init__(path, task, facts=facts)
        self._stack = stack
        self._counted = _Counts()
        self._alignment = EpisodeAlignment(game)

    @cached_property
    def _records(self) -> EpisodeRecords:
        return records_like(self._shard.first())

    @property
    def spec(self) -> BufferSpec:
        """Episodes of stacked 84×84 frames."""
        discrete = {"type": "discrete", "n": self.task.num_actions}
        return BufferSpec(
            layout="episodes",
            stack=self._stack,
            columns=[
                ColumnSpec(
                    OBSERVATIONS, np.dtype(np.uint8), (self._stack, *SIZE), {"type": "box", "low": 0, "high": 255}
                ),
                ColumnSpec(ACTIONS, np.dtype(np.int64), (), discrete),
                ColumnSpec(REWARDS, np.dtype(np.float32), (), {"type": "box", "low": -1.0, "high": 1.0}),
                ColumnSpec("unclipped_rewards", np.dtype(np.float32)),
                ColumnSpec("discounts", np.dtype(np.float32), (), {"type": "box", "low": 0.0, "high": 1.0}),
                ColumnSpec(TERMINALS, np.dtype(np.bool_)),
                ColumnSpec(TIMEOUTS, np.dtype(np.bool_)),
            ],
            episode_columns=[
                ColumnSpec(name, np.dtype(np.int64 if name in INTEGERS else np.float32)) for name in self._records.once
            ],
        )

    @property
    def decoder(self) -> EpisodeDecoder:
        """Decodes records of this shard."""
        return EpisodeDecoder(self.where, self._records, self._stack)

    def pieces(self) -> Iterator[RecordBatch]:
        """Yield the records, verified and counted."""
        for batch in self._shard.batches(1):
            batch.verify(self.where)
            record = next(parsed_records(batch, self.where))
            numbers, pictures = self._records.checked(record)
            self._shard.require_room_for(len(pictures), math.prod(SIZE), record.where)
            self._counted.add(record, numbers, self._records)
            yield batch

    def observe(self, rows: Rows) -> None:
        """Measure at which rows the picture changes with the rewards."""
        if isinstance(rows, Episode):
            self._alignment.add(rows.observations[FRAMES][self._stack - 1 :], rows.columns[REWARDS])

    def tally(self) -> Tally:
        """Count the records, their rows and their rewards but for the padding in the last rows."""
        counted = self._counted
        return Tally(counted.records, counted.rows, counted.reward_sum - counted.last_reward_sum)

    def measurements(self) -> dict[str, Any]:
        """Return what was counted, and where the rewards stand."""
        return {"reward_alignment": self._alignment.to_json(), **self._counted.to_json()}

    def warnings(self) -> list[str]:
        """Say what speaks against this reading of the shard."""
        return [*self._alignment.warnings(), *self._counted.warnings()]

    def left_out(self) -> list[str]:
        """Name what of the records is not in the buffer."""
        counted = self._counted
        texts = [f"feature {name!r}, in {count:,} records" for name, count in sorted(counted.unknown.items())]
        if counted.last_rewards:
            texts.append(f"the rewards in the last rows of {counted.last_rewards:,} episodes, which follow no action")
        return texts

    def notes(self) -> list[str]:
        """Say how rows were made from the records."""
        return [
            "The file has rewards one row early; they were moved to the actions that earned them. What the first "
            "action of an episode earned is not in the file: rewards and unclipped_rewards are 0 there, in "
            f"{self._counted.records:,} rows.",
            "The last row of an episode is a transition; what was seen after it is not known (episodes/final_known). "
            "discounts[t] is the file's, of the same row.",
            "terminals: the last discount of the episode is 0. timeouts: it is not, so the episode was cut.",
            "rewards are the file's clipped_rewards; its unclipped_rewards are clipped too in the files seen so far.",
        ]

    def metadata(self) -> dict[str, Any]:
        """Describe the shard, what was measured on it, and how it was read."""
        facts = super().metadata()
        facts["source"]["dataset"] = self._records.dataset
        return facts


class _Counts:
    """What is counted on the records as they were read."""

    def __init__(self) -> None:
        self.records = 0
        self.rows = 0
        self.reward_sum = 0.0
        self.last_rewards = 0
        self.last_reward_sum = 0.0
        self.unknown: Counter[str] = Counter()
        self._terminals = 0
        self._inner_zeros = 0
        self._longest = 0
        self._differing = 0
        self._discounts: set[float] = set()

    def add(self, record: Record, numbers: Mapping[str, Array], records: EpisodeRecords) -> None:
        discounts, rewards = numbers[DISCOUNTS], numbers[CLIPPED_REWARDS]
        self.records += 1
        self.rows += len(rewards)
        self.reward_sum += total_reward(rewards)
        self.last_rewards += int(rewards[-1] != 0 or numbers[UNCLIPPED_REWARDS][-1] != 0)
        self.last_reward_sum += float(rewards[-1])
        self._longest = max(self._longest, len(rewards))
        self.unknown.update(set(record.features) - set(records.features))
        self._terminals += int(discounts[-1] == 0)
        self._inner_zeros += int((discounts[:-1] == 0).sum())
        self._differing += int((rewards != numbers[UNCLIPPED_REWARDS]).sum())
        self._discounts.update(np.unique(discounts).tolist())

    def to_json(self) -> dict[str, Any]:
        return {
            "first_rewards_unknown": self.records,
            "last_rewards_not_zero": self.last_rewards,
            "terminal_episodes": self._terminals,
            "truncated_episodes": self.records - self._terminals,
            "longest_episode_rows": self._longest,
            "rewards_that_differ_unclipped": self._differing,
        }

    def warnings(self) -> list[str]:
        found = []
        if self.last_rewards:
            found.append(
                f"In {self.last_rewards:,} of {self.records:,} episodes the last row has a reward. Rewards stand one "
                "row early in these files, so that no action is left for it, and it is left out; in published files it "
                "is 0. Check measurements.reward_alignment."
            )
        if self._inner_zeros:
            found.append(
                f"{self._inner_zeros:,} discounts of 0 stand before the last row of an episode; they stay in the "
                "column discounts, and terminals says nothing of them."
            )
        odd = sorted(value for value in self._discounts if value not in (0.0, 1.0))
        if odd:
            found.append(f"Discounts other than 0 and 1 occur: {', '.join(f'{value:g}' for value in odd[:8])}.")
        return found
