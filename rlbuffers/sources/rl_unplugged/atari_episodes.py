"""RL Unplugged's ordered Atari episodes: GZIP TFRecord files whose records are whole episodes.

Format: ``rl_unplugged/atari_utils.py`` of tensorflow/datasets. Each record is a ``tf.train.Example``
with one PNG, action, clipped and unclipped reward and discount a step, and ``checkpoint_idx``,
``episode_idx`` and two returns once. An episode is terminal if its last discount is 0.

The shard is read twice: first everything but the pictures, which tells how the last rows are to be
read (``last_row.py``) and what must come out; then the episodes, one by one. Memory is bounded
by the longest episode: 7 KB a frame in each process that decodes, a few times that in the one that writes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.errors import UsageError
from rlbuffers.schema import ACTIONS, OBSERVATIONS, REWARDS, TERMINALS, TIMEOUTS, BufferSpec, ColumnSpec
from rlbuffers.sources.dqn_runs import BEHAVIOR, SIZE, environment_facts
from rlbuffers.sources.rl_unplugged.atari_records import (
    CLIPPED_RETURN,
    CLIPPED_REWARDS,
    DISCOUNTS,
    FEATURES,
    INTEGERS,
    ONCE,
    EpisodeDecoder,
    EpisodeRecord,
    checked_features,
)
from rlbuffers.sources.rl_unplugged.games import ATARI_GAMES, check_game
from rlbuffers.sources.rl_unplugged.last_row import LAST_ROW_READINGS, LastRow, LastRowEvidence
from rlbuffers.sources.rl_unplugged.shards import Record, RecordShard, ShardSource
from rlbuffers.sources.rl_unplugged.tasks import KnownTask
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["RLUAtariEpisodesSource"]

Array = np.ndarray[Any, Any]


class RLUAtariEpisodesSource(ShardSource[EpisodeRecord]):
    """One shard of ordered RL Unplugged Atari episodes: what one checkpoint of a training run played.

    Parameters
    ----------
    path : Path
        The shard; any name.
    game : str
        Name of the game in the suite; tells the number of actions.
    stack : int, default 4
        Frames in an observation; the first ones of an episode are padded with zeros.
    last_row : {"auto", "transition", "observation"}, default "auto"
        What the last row of an episode is: its last transition, after which nothing was seen, or only
        what was seen after the row before. ``auto`` decides by the shard's own evidence.
    facts : mapping, optional
        More facts for ``source`` in the metadata: run, shard, URL.

    Raises
    ------
    BufferNotFoundError, UsageError
        If there is no such file, game, stack or reading.
    """

    def __init__(
        self,
        path: Path,
        game: str,
        *,
        stack: int = 4,
        last_row: str = "auto",
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        if stack < 1:
            raise UsageError(f"stack {stack}: expected at least 1 frame")
        if last_row not in LAST_ROW_READINGS:
            raise UsageError(f"last row {last_row!r}: expected one of {', '.join(LAST_ROW_READINGS)}")
        task = KnownTask(
            check_game(game),
            "RL Unplugged Atari",
            BEHAVIOR,
            num_actions=ATARI_GAMES[game],
            environment=environment_facts(stack),
        )
        super().__init__(path, task, facts=facts)
        self._stack = stack
        self._asked = last_row
        self._first_pass = RecordShard(path, gzipped=True)
        self._evidence = LastRowEvidence()
        self._counted = _Counts()

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
            episode_columns=[ColumnSpec(name, np.dtype(np.int64 if name in INTEGERS else np.float32)) for name in ONCE],
        )

    @property
    def decoder(self) -> EpisodeDecoder:
        """Decodes records of this shard."""
        return EpisodeDecoder(self.where, self._stack)

    @property
    def last_row(self) -> LastRow:
        """How last rows are read; known once the first piece was taken."""
        forced: dict[str, LastRow] = {"transition": "transition", "observation": "observation"}
        return forced.get(self._asked, self._evidence.verdict)

    def pieces(self) -> Iterator[EpisodeRecord]:
        """Look at all records, then yield those that have a transition."""
        for record in self._first_pass.records():
            numbers, _ = checked_features(record)
            self._evidence.add(numbers["actions"], numbers[CLIPPED_REWARDS], float(numbers[CLIPPED_RETURN][0]))
            self._counted.add(record, numbers)
        for batch in self._shard.batches(1):
            if self.last_row == "transition" or batch.first_record not in self._counted.single_rows:
                yield EpisodeRecord(batch, self.last_row)

    def tally(self) -> Tally:
        """Count what the first pass found in the records."""
        counted, evidence = self._counted, self._evidence
        if self.last_row == "transition":
            return Tally(evidence.episodes, evidence.rows, counted.reward_sum)
        episodes = evidence.episodes - len(counted.single_rows)
        return Tally(episodes, evidence.rows - evidence.episodes, counted.reward_sum - counted.last_reward_sum)

    @property
    def total(self) -> int:
        """Bytes to read in both passes."""
        return 2 * self._shard.size

    @property
    def done(self) -> int:
        """Bytes read so far."""
        return self._first_pass.bytes_read + self._shard.bytes_read

    def measurements(self) -> dict[str, Any]:
        """Return how last rows were read and why, and what else was counted."""
        return {
            "last_row": {
                "read_as": self.last_row,
                "decided_by": "the data" if self._asked == "auto" else "--last-row",
                **self._evidence.to_json(),
            },
            **self._counted.to_json(),
        }

    def warnings(self) -> list[str]:
        """Say what speaks against this reading of the shard."""
        found = self._counted.warnings()
        doubts = "; ".join(self._evidence.doubts())
        if self._asked == "auto" and doubts:
            found.append(
                f"The last row of an episode was read as its last {self.last_row}, but this is not certain: {doubts}. "
                "--last-row settles it."
            )
        if self._asked not in ("auto", self._evidence.verdict):
            found.append(
                f"The last row of an episode was read as its last {self._asked}, as asked for, although the shard "
                f"itself speaks for {self._evidence.verdict!r}."
            )
        return found

    def left_out(self) -> list[str]:
        """Name what of the records is not in the buffer."""
        texts = [f"feature {name!r}, in {count:,} records" for name, count in sorted(self._counted.unknown.items())]
        if self.last_row == "observation":
            texts.append(
                f"action and reward of the last row of {self._evidence.episodes:,} episodes, which is an observation "
                f"only ({self._evidence.actions:,} of these actions and {self._evidence.rewards:,} rewards are not 0), "
                "and the first discount, which came with the first observation"
            )
            if self._counted.single_rows:
                texts.append(f"{len(self._counted.single_rows):,} episodes of one observation: they have no transition")
        return texts

    def notes(self) -> list[str]:
        """Say how rows were made from the records."""
        reading = {
            "transition": "The last row of an episode is a transition; what was seen after it is not known "
            "(episodes/final_known). discounts[t] is the file's, of the same row.",
            "observation": "The last row of an episode is only what was seen after its last transition. discounts[t] "
            "is that of the row after, with which it came.",
        }
        return [
            reading[self.last_row],
            "terminals: the last discount of the episode is 0. timeouts: it is not, so the episode was cut.",
            "rewards are the file's clipped_rewards; its unclipped_rewards are documented to be clipped too.",
        ]


class _Counts:
    """What the first pass counts beside the last rows."""

    def __init__(self) -> None:
        self.reward_sum = 0.0
        self.last_reward_sum = 0.0
        self.single_rows: set[int] = set()
        self.unknown: Counter[str] = Counter()
        self._records = 0
        self._terminals = 0
        self._inner_zeros = 0
        self._longest = 0
        self._differing = 0
        self._discounts: set[float] = set()

    def add(self, record: Record, numbers: Mapping[str, Array]) -> None:
        discounts, rewards = numbers[DISCOUNTS], numbers[CLIPPED_REWARDS]
        self.reward_sum += total_reward(rewards)
        self.last_reward_sum += float(rewards[-1])
        if len(rewards) == 1:
            self.single_rows.add(self._records)
        self._records += 1
        self._longest = max(self._longest, len(rewards))
        self.unknown.update(set(record.features) - set(FEATURES))
        self._terminals += int(discounts[-1] == 0)
        self._inner_zeros += int((discounts[:-1] == 0).sum())
        self._differing += int((rewards != numbers["unclipped_rewards"]).sum())
        self._discounts.update(np.unique(discounts).tolist())

    def to_json(self) -> dict[str, Any]:
        return {
            "terminal_episodes": self._terminals,
            "truncated_episodes": self._records - self._terminals,
            "longest_episode_rows": self._longest,
            "rewards_that_differ_unclipped": self._differing,
        }

    def warnings(self) -> list[str]:
        found = []
        if self._inner_zeros:
            found.append(
                f"{self._inner_zeros:,} discounts of 0 stand before the last row of an episode; they stay in the "
                "column discounts, and terminals says nothing of them."
            )
        odd = sorted(value for value in self._discounts if value not in (0.0, 1.0))
        if odd:
            found.append(f"Discounts other than 0 and 1 occur: {', '.join(f'{value:g}' for value in odd[:8])}.")
        return found
