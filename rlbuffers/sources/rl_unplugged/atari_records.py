"""Records of RL Unplugged's ordered Atari episodes: what must be in them, and how one becomes an episode."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlbuffers.decoding.gray_png import PngError, decode_gray_pngs
from rlbuffers.decoding.tfrecord import RecordBatch
from rlbuffers.episode import Episode
from rlbuffers.errors import FormatError
from rlbuffers.schema import ACTIONS, FRAMES, REWARDS, TERMINALS, TIMEOUTS
from rlbuffers.sources.dqn_runs import MAX_EPISODE_BYTES, SIZE
from rlbuffers.sources.rl_unplugged.last_row import LastRow
from rlbuffers.sources.rl_unplugged.shards import Record, parsed_records

__all__ = [
    "CLIPPED_RETURN",
    "CLIPPED_REWARDS",
    "DISCOUNTS",
    "FEATURES",
    "INTEGERS",
    "ONCE",
    "EpisodeDecoder",
    "EpisodeRecord",
    "checked_features",
]

Array = np.ndarray[Any, Any]
_PICTURES, CLIPPED_REWARDS, DISCOUNTS, CLIPPED_RETURN = (
    "observations",
    "clipped_rewards",
    "discounts",
    "clipped_episode_return",
)
_COLUMN_OF = {
    "actions": ACTIONS,
    CLIPPED_REWARDS: REWARDS,
    "unclipped_rewards": "unclipped_rewards",
    DISCOUNTS: "discounts",
}
INTEGERS = ("actions", "checkpoint_idx", "episode_idx")
ONCE = ("checkpoint_idx", "episode_idx", "episode_return", CLIPPED_RETURN)
FEATURES = (_PICTURES, *_COLUMN_OF, *ONCE)
_MAX_ROWS = MAX_EPISODE_BYTES // math.prod(SIZE)


@dataclass(frozen=True)
class EpisodeRecord:
    """One record, and what its last row is."""

    batch: RecordBatch
    last_row: LastRow


@dataclass(frozen=True)
class EpisodeDecoder:
    """Turns a record into an episode; runs in worker processes.

    Parameters
    ----------
    where : str
        Name of the shard, for messages.
    stack : int
        Frames in an observation.
    """

    where: str
    stack: int

    def __call__(self, piece: EpisodeRecord) -> Episode:
        """Verify, parse and decode a record."""
        piece.batch.verify(self.where)
        record = next(parsed_records(piece.batch, self.where))
        numbers, pictures = checked_features(record)
        columns, count = _columns(numbers, piece.last_row), len(pictures)
        frames = np.zeros((self.stack - 1 + count, *SIZE), np.uint8)
        frames[self.stack - 1 :] = _decoded(pictures, record.where)
        facts = {name: numbers[name][0] for name in ONCE}
        return Episode(columns, {FRAMES: frames}, facts)


def checked_features(record: Record) -> tuple[dict[str, Array], list[bytes]]:
    """Return the numbers and the pictures of a record after checking kinds and lengths."""
    features = record.features
    missing = [name for name in FEATURES if name not in features]
    if missing:
        hint = "; this is a shard of loose transitions, read with --layout transitions" if "o_t" in features else ""
        found = ", ".join(sorted(features)) or "none"
        raise FormatError(f"{record.where}: expected features {', '.join(missing)}; found {found}{hint}")
    pictures = features[_PICTURES]
    count = len(pictures)
    if not isinstance(pictures, list) or not 1 <= count <= _MAX_ROWS:
        raise FormatError(f"{record.where}: expected 1 to {_MAX_ROWS:,} PNGs in {_PICTURES!r}, found {count:,} values")
    numbers: dict[str, Array] = {}
    for name in (*_COLUMN_OF, *ONCE):
        values, dtype = features[name], np.int64 if name in INTEGERS else np.float32
        wanted = 1 if name in ONCE else count
        if isinstance(values, list) or values.dtype != dtype or len(values) != wanted:
            kind = "bytes" if isinstance(values, list) else values.dtype.name
            raise FormatError(
                f"{record.where}: expected {wanted:,} {np.dtype(dtype).name} values in {name!r}, "
                f"found {len(values):,} {kind} values"
            )
        numbers[name] = values
    return numbers, pictures


def _columns(numbers: Mapping[str, Array], last_row: LastRow) -> dict[str, Array]:
    """Return one row a transition."""
    columns = {column: numbers[name] for name, column in _COLUMN_OF.items()}
    if last_row == "observation":
        discounts = columns["discounts"][1:]
        columns = {**{name: rows[:-1] for name, rows in columns.items()}, "discounts": discounts}
    is_last = np.arange(len(columns[REWARDS])) == len(columns[REWARDS]) - 1
    is_terminal = bool(numbers[DISCOUNTS][-1] == 0)
    return {**columns, TERMINALS: is_last & is_terminal, TIMEOUTS: is_last & (not is_terminal)}


def _decoded(pictures: list[bytes], where: str) -> Array:
    sizes = np.array([len(picture) for picture in pictures], np.int64)
    try:
        return decode_gray_pngs(b"".join(pictures), np.cumsum(sizes) - sizes, sizes, SIZE)
    except PngError as error:
        raise error.kind(f"{where}: frame {error.index:,} is {error}") from error
