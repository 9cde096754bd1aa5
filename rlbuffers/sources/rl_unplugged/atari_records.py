"""Records of RL Unplugged's Atari episodes: what must be in them, and how one becomes an episode.

Rewards stand one row early: row t of a record has the reward that action t + 1 earned, its last row has
a 0 for padding, and what the first action earned is not in the record. Actions, discounts and pictures
are not moved, and the last row is a transition like the others: its action ends the game. Both were
found by playing the actions of published records in the emulator (``benchmarks/replay_in_emulator.py``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlbuffers.decoding.gray_png import PngError, decode_gray_pngs
from rlbuffers.decoding.tfrecord import RecordBatch
from rlbuffers.episode import Episode
from rlbuffers.errors import FormatError
from rlbuffers.listing import listed
from rlbuffers.schema import ACTIONS, FRAMES, REWARDS, TERMINALS, TIMEOUTS
from rlbuffers.sources.dqn_runs import MAX_EPISODE_BYTES, SIZE
from rlbuffers.sources.rl_unplugged.shards import Record, parsed_records

__all__ = [
    "CLIPPED_REWARDS",
    "DISCOUNTS",
    "INTEGERS",
    "PICTURES",
    "UNCLIPPED_REWARDS",
    "EpisodeDecoder",
    "EpisodeRecords",
    "moved_to_their_actions",
    "records_like",
]

Array = np.ndarray[Any, Any]
PICTURES, CLIPPED_REWARDS, UNCLIPPED_REWARDS, DISCOUNTS = (
    "observations",
    "clipped_rewards",
    "unclipped_rewards",
    "discounts",
)
_COLUMN_OF = {
    "actions": ACTIONS,
    CLIPPED_REWARDS: REWARDS,
    UNCLIPPED_REWARDS: "unclipped_rewards",
    DISCOUNTS: "discounts",
}
_EARLY = (REWARDS, "unclipped_rewards")
INTEGERS = ("actions", "checkpoint_idx", "episode_idx", "episode_id")
_RETURNS = ("episode_return", "clipped_episode_return")
_MAX_ROWS = MAX_EPISODE_BYTES // math.prod(SIZE)


@dataclass(frozen=True)
class EpisodeRecords:
    """Which features the records of a shard have: the two versions of the bucket name an episode in different ways.

    Parameters
    ----------
    dataset : str
        The version of the bucket.
    names : sequence of str
        Features that name an episode.
    """

    dataset: str
    names: Sequence[str]

    @property
    def once(self) -> tuple[str, ...]:
        """Features with one value for the whole episode."""
        return (*self.names, *_RETURNS)

    @property
    def features(self) -> tuple[str, ...]:
        """All features."""
        return (PICTURES, *_COLUMN_OF, *self.once)

    def checked(self, record: Record) -> tuple[dict[str, Array], list[bytes]]:
        """Return the numbers and the pictures of a record after checking kinds and lengths.

        Raises
        ------
        FormatError
            If it is not such a record.
        """
        features = record.features
        missing = [name for name in self.features if name not in features]
        if missing:
            hint = "; this is a shard of loose transitions, read with --layout transitions" if "o_t" in features else ""
            found = listed(sorted(features)) or "none"
            raise FormatError(f"{record.where}: expected features {listed(missing)}; found {found}{hint}")
        pictures = features[PICTURES]
        count = len(pictures)
        if not isinstance(pictures, list) or not 1 <= count <= _MAX_ROWS:
            raise FormatError(
                f"{record.where}: expected 1 to {_MAX_ROWS:,} PNGs in {PICTURES!r}, found {count:,} values"
            )
        numbers: dict[str, Array] = {}
        for name in (*_COLUMN_OF, *self.once):
            values, dtype = features[name], np.int64 if name in INTEGERS else np.float32
            wanted = 1 if name in self.once else count
            if isinstance(values, list) or values.dtype != dtype or len(values) != wanted:
                kind = "bytes" if isinstance(values, list) else values.dtype.name
                raise FormatError(
                    f"{record.where}: expected {wanted:,} {np.dtype(dtype).name} values in {name!r}, "
                    f"found {len(values):,} {kind} values"
                )
            numbers[name] = values
        return numbers, pictures


_ORDERED = EpisodeRecords("rl_unplugged/atari_episodes_ordered", ("checkpoint_idx", "episode_idx"))
_UNORDERED = EpisodeRecords("rl_unplugged/atari_episodes", ("episode_id",))


def records_like(first: Record) -> EpisodeRecords:
    """Tell by its first record which version of the bucket a shard is of; the newer one if it is of neither."""
    named_by_id = "episode_id" in first.features and "episode_idx" not in first.features
    return _UNORDERED if named_by_id and "o_t" not in first.features else _ORDERED


@dataclass(frozen=True)
class EpisodeDecoder:
    """Turns a record into an episode; runs in worker processes.

    Parameters
    ----------
    where : str
        Name of the shard, for messages.
    records : EpisodeRecords
        Which features they have.
    stack : int
        Frames in an observation.
    """

    where: str
    records: EpisodeRecords
    stack: int

    def __call__(self, piece: RecordBatch) -> Episode:
        """Parse and decode a verified record."""
        record = next(parsed_records(piece, self.where))
        numbers, pictures = self.records.checked(record)
        frames = np.zeros((self.stack - 1 + len(pictures), *SIZE), np.uint8)
        frames[self.stack - 1 :] = _decoded(pictures, record.where)
        facts = {name: numbers[name][0] for name in self.records.once}
        return Episode(_columns(numbers), {FRAMES: frames}, facts)


def moved_to_their_actions(rewards: Array) -> Array:
    """Return rewards that stand one row early at the actions that earned them; the first one is unknown, and 0.

    Parameters
    ----------
    rewards : array, shape (T, ...)
        Of one episode, as the file has them.
    """
    return np.concatenate([np.zeros_like(rewards[:1]), rewards[:-1]])


def _columns(numbers: Mapping[str, Array]) -> dict[str, Array]:
    """Return one row a transition."""
    columns = {column: numbers[name] for name, column in _COLUMN_OF.items()}
    columns |= {name: moved_to_their_actions(columns[name]) for name in _EARLY}
    is_last = np.arange(len(columns[REWARDS])) == len(columns[REWARDS]) - 1
    is_terminal = bool(numbers[DISCOUNTS][-1] == 0)
    return {**columns, TERMINALS: is_last & is_terminal, TIMEOUTS: is_last & (not is_terminal)}


def _decoded(pictures: list[bytes], where: str) -> Array:
    sizes = np.array([len(picture) for picture in pictures], np.int64)
    try:
        return decode_gray_pngs(b"".join(pictures), np.cumsum(sizes) - sizes, sizes, SIZE)
    except PngError as error:
        raise error.kind(f"{where}: frame {error.index:,} is {error}") from error
