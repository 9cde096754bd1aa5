"""RL Unplugged's raw Atari shards: GZIP TFRecord files of loose, shuffled transitions.

Format: ``rl_unplugged/atari.py`` of google-deepmind/deepmind-research. Each record is a
``tf.train.Example`` with eight PNGs (``o_t`` and ``o_tp1``, four frames each), ``a_t``, ``r_t``,
``d_t``, ``a_tp1``, ``episode_id`` and ``episode_return``.

What the documentation leaves open is measured on every shard and stored (`measurements`): whether
the frames of a stack are ordered oldest first, whether any discount is 0, how many records there
are, whether records of one episode stand together, and with which change of the picture rewards go.
What the file says is stored, also where it contradicts what this reader expects; a contradiction
becomes a warning.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.decoding.example_proto import Feature, ParsedExamples, parse_examples
from rlbuffers.decoding.gray_png import PngError, decode_gray_pngs, equal_pngs
from rlbuffers.decoding.gzip_stream import gunzip
from rlbuffers.decoding.tfrecord import RecordBatch, read_records
from rlbuffers.episode import Transitions
from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.reader_versions import source_facts
from rlbuffers.schema import ACTIONS, NEXT_OBSERVATIONS, OBSERVATIONS, REWARDS, TERMINALS, BufferSpec, ColumnSpec
from rlbuffers.sources.base import Rows, Source
from rlbuffers.sources.rl_unplugged.atari_records import PICTURES
from rlbuffers.sources.rl_unplugged.games import ATARI_GAMES, check_game, run_of_shard
from rlbuffers.sources.rl_unplugged.reward_alignment import LooseAlignment, RewardAlignment
from rlbuffers.sources.rl_unplugged.shards import parsed_records
from rlbuffers.sources.rl_unplugged.tasks import CITATION_2020, LICENSE
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["BATCH_RECORDS", "RLUAtariSource", "ShardDecoder"]

Array = np.ndarray[Any, Any]
STACK = 4
SIZE = (84, 84)
# 256 transitions of five frames fill chunks and fingerprint blocks exactly.
BATCH_RECORDS = 256
_NEW_FRAME = STACK - 1
_NEWEST_FIRST = "newest_first"
_UNKNOWN = "unknown_features"
_ALIGNMENT = "reward_alignment"
# Steps with a reward, and as many without, that are looked at in each batch.
_MAX_REWARDED = 64
_FEATURES = (
    Feature("o_t", "bytes", STACK),
    Feature("o_tp1", "bytes", STACK),
    Feature("a_t", "int64"),
    Feature("a_tp1", "int64"),
    Feature("r_t", "float"),
    Feature("d_t", "float"),
    Feature("episode_id", "int64"),
    Feature("episode_return", "float"),
)
_COLUMN_OF = {
    ACTIONS: "a_t",
    "next_actions": "a_tp1",
    REWARDS: "r_t",
    "discounts": "d_t",
    "episode_ids": "episode_id",
    "episode_returns": "episode_return",
}


@dataclass(frozen=True)
class ShardDecoder:
    """Turns a batch of records into transitions; runs in worker processes.

    Parameters
    ----------
    where : str
        Name of the shard, for messages.
    """

    where: str

    def __call__(self, piece: RecordBatch) -> Transitions:
        """Verify, parse and decode a batch."""
        piece.verify(self.where)
        try:
            parsed = parse_examples(piece, _FEATURES, self.where)
        except CorruptDataError:
            raise
        except FormatError as error:
            if PICTURES not in next(parsed_records(piece, self.where)).features:
                raise
            raise FormatError(f"{error}; this is a shard of whole episodes, read with --layout episodes") from error
        columns: dict[str, Array] = {name: parsed.values[key][:, 0].copy() for name, key in _COLUMN_OF.items()}
        columns[TERMINALS] = columns["discounts"] == 0.0
        return self._with_frames(columns, piece, parsed)

    def _with_frames(self, columns: dict[str, Array], piece: RecordBatch, parsed: ParsedExamples) -> Transitions:
        """Decode the five frames of each transition, and more only where the two stacks do not overlap."""
        data = np.frombuffer(piece.data, np.uint8)
        before, after = parsed.offsets["o_t"], parsed.offsets["o_tp1"]
        sizes_before, sizes_after = parsed.lengths["o_t"], parsed.lengths["o_tp1"]
        window_offsets = np.concatenate([before, after[:, _NEW_FRAME:]], axis=1)
        window_sizes = np.concatenate([sizes_before, sizes_after[:, _NEW_FRAME:]], axis=1)
        windows = self._decode(piece, window_offsets, window_sizes)

        shared = np.zeros((len(piece), STACK - 1), bool)
        same_size = sizes_before[:, 1:] == sizes_after[:, :-1]
        shared[same_size] = equal_pngs(
            data, before[:, 1:][same_size], after[:, :-1][same_size], sizes_after[:, :-1][same_size]
        )
        # Different files may still hold the same picture.
        doubtful = np.flatnonzero(~shared.all(axis=1))
        next_observations = self._decode(piece, after[doubtful], sizes_after[doubtful], doubtful)
        differs = (next_observations[:, :-1] != windows[doubtful, 1:STACK]).any(axis=(1, 2, 3))
        rows, next_observations = doubtful[differs], next_observations[differs]
        # Were stacks ordered newest first, o_tp1[k + 1] would repeat o_t[k].
        reversed_stacks = (next_observations[:, 1:] == windows[rows, : STACK - 1]).all(axis=(1, 2, 3))
        counters = {
            _NEWEST_FIRST: int(reversed_stacks.sum()),
            _UNKNOWN: int((parsed.unknown > 0).sum()),
            _ALIGNMENT: _alignment(windows, columns[REWARDS]),
        }
        return Transitions(columns, windows, rows, next_observations, counters)

    def _decode(self, piece: RecordBatch, offsets: Array, sizes: Array, records: Array | None = None) -> Array:
        per_record = offsets.shape[1]
        try:
            frames = decode_gray_pngs(piece.data, offsets.ravel(), sizes.ravel(), SIZE)
        except PngError as error:
            row = error.index // per_record
            record = piece.first_record + (row if records is None else int(records[row]))
            raise error.kind(f"{self.where}: record {record}: one of its frames is {error}") from error
        return frames.reshape(*offsets.shape, *SIZE)


def _alignment(windows: Array, rewards: Array) -> RewardAlignment:
    """Measure with which change of the picture rewards go, on some steps with a reward and as many without."""
    rewarded = np.flatnonzero(rewards)[:_MAX_REWARDED]
    others = np.flatnonzero(rewards == 0)[: len(rewarded)]
    rows = np.concatenate([rewarded, others])
    measured = RewardAlignment()
    if len(rows):
        measured.add_windows(windows[rows], rewards[rows])
    return measured


class RLUAtariSource(Source[RecordBatch]):
    """One shard of raw RL Unplugged Atari transitions.

    Parameters
    ----------
    path : Path
        The shard; any name.
    game : str
        Name of the game in the suite; tells the number of actions.
    facts : mapping, optional
        More facts for ``source`` in the metadata: run, shard, URL.
    limit : int, optional
        Read only the first records.
    """

    def __init__(self, path: Path, game: str, *, facts: dict[str, Any] | None = None, limit: int | None = None) -> None:
        self.path = path
        self.game = check_game(game)
        self._facts = dict(facts or {})
        self._limit = limit
        self._sha256 = hashlib.sha256()
        self._bytes_read = 0
        self._measured = _Measurements()
        self._alignment = LooseAlignment(game)

    @property
    def where(self) -> str:
        """Path of the shard."""
        return str(self.path)

    @property
    def files(self) -> Sequence[Path]:
        """The shard."""
        return [self.path]

    @property
    def spec(self) -> BufferSpec:
        """Transitions in shuffled order; stacks of four 84×84 frames."""
        stacked = ((STACK, *SIZE), {"type": "box", "low": 0, "high": 255})
        discrete = {"type": "discrete", "n": ATARI_GAMES[self.game]}
        return BufferSpec(
            layout="transitions",
            order="shuffled",
            stack=STACK,
            columns=[
                ColumnSpec(OBSERVATIONS, np.dtype(np.uint8), *stacked),
                ColumnSpec(NEXT_OBSERVATIONS, np.dtype(np.uint8), *stacked),
                ColumnSpec(ACTIONS, np.dtype(np.int64), (), discrete),
                ColumnSpec("next_actions", np.dtype(np.int64), (), discrete),
                ColumnSpec(REWARDS, np.dtype(np.float32), (), {"type": "box", "low": -1.0, "high": 1.0}),
                ColumnSpec("discounts", np.dtype(np.float32), (), {"type": "box", "low": 0.0, "high": 1.0}),
                ColumnSpec(TERMINALS, np.dtype(np.bool_)),
                ColumnSpec("episode_ids", np.dtype(np.int64)),
                ColumnSpec("episode_returns", np.dtype(np.float32)),
            ],
        )

    @property
    def decoder(self) -> ShardDecoder:
        """Decodes records of this shard."""
        return ShardDecoder(str(self.path))

    def pieces(self) -> Iterator[RecordBatch]:
        """Yield batches of records."""
        yield from read_records(gunzip(self.path, self._note), str(self.path), BATCH_RECORDS, self._limit)

    def _note(self, data: bytes) -> None:
        self._sha256.update(data)
        self._bytes_read += len(data)

    def observe(self, rows: Rows) -> None:
        """Measure what the format's documentation leaves open."""
        if isinstance(rows, Transitions):
            self._measured.add(rows)
            self._alignment.add(rows.counters[_ALIGNMENT])

    @property
    def recording(self) -> str | None:
        """The run: rows of an episode are scattered over its shards."""
        return run_of_shard(self.game, self.path.name)

    def tally(self) -> Tally:
        """Count the records and their rewards."""
        return Tally(None, self._measured.records, self._measured.reward_sum)

    def metadata(self) -> dict[str, Any]:
        """Describe the shard and what was measured on it."""
        size = self.path.stat().st_size
        file: dict[str, Any] = {"name": self.path.name, "bytes": size}
        if self._bytes_read == size:
            file["sha256"] = self._sha256.hexdigest()
        left_out = self._measured.left_out()
        if self._measured.records == self._limit:
            left_out.append(f"records after the first {self._limit:,}, if there are more (--limit)")
        return {
            "environment": {
                "id": self.game,
                "suite": "RL Unplugged Atari",
                "observation": "84×84 gray frames, stack of 4, oldest first; max of the last 2 emulator frames",
                "frame_skip": 4,
                "sticky_action_probability": 0.25,
                "action_set": "minimal",
                "reward_clipping": [-1.0, 1.0],
                "terminal_on_life_loss": False,
            },
            "behavior_policy": {"name": "DQN (nature), online training run", "epsilon": "unknown"},
            "source": source_facts("rl-unplugged", files=[file], **self._facts),
            "measurements": {**self._measured.to_json(), _ALIGNMENT: self._alignment.to_json()},
            "warnings": [*self._measured.warnings(), *self._alignment.warnings()],
            "left_out": left_out,
            "license": LICENSE,
            "citation": CITATION_2020,
            "notes": [
                "Rows are shuffled; neighbours in the file are not neighbours in time.",
                "The source has no timeouts: a row that ends an episode by a time limit cannot be told.",
                "Rewards are clipped to [-1, 1] at the source; the unclipped score cannot be recovered.",
            ],
        }

    @property
    def total(self) -> int:
        """Size of the shard in bytes."""
        return self.path.stat().st_size

    @property
    def done(self) -> int:
        """Bytes read so far."""
        return self._bytes_read


class _Measurements:
    """Answers the open questions about a shard from its decoded transitions."""

    def __init__(self) -> None:
        self.records = 0
        self.reward_sum = 0.0
        self._overlapping = 0
        self._reversed = 0
        self._with_unknown = 0
        self._discounts: Counter[float] = Counter()
        self._terminals = 0
        self._episodes: set[int] = set()
        self._same_neighbour = 0
        self._last_episode: int | None = None
        self._clipped_outside = 0

    def add(self, rows: Transitions) -> None:
        count = len(rows)
        overrides = 0 if rows.override_rows is None else len(rows.override_rows)
        self._reversed += rows.counters.get(_NEWEST_FIRST, 0)
        self._with_unknown += rows.counters.get(_UNKNOWN, 0)
        self.records += count
        self.reward_sum += total_reward(rows.columns[REWARDS])
        self._overlapping += count - overrides
        values, counts = np.unique(rows.columns["discounts"], return_counts=True)
        self._discounts.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        self._terminals += int(rows.columns[TERMINALS].sum())
        episodes = rows.columns["episode_ids"]
        self._episodes.update(np.unique(episodes).tolist())
        self._same_neighbour += int((episodes[1:] == episodes[:-1]).sum())
        self._same_neighbour += int(self._last_episode == int(episodes[0]))
        self._last_episode = int(episodes[-1])
        self._clipped_outside += int((np.abs(rows.columns[REWARDS]) > 1.0).sum())

    def to_json(self) -> dict[str, Any]:
        return {
            "records": self.records,
            "episodes_seen": len(self._episodes),
            "frames_oldest_first": self._overlapping / max(self.records, 1),
            "frames_newest_first": self._reversed / max(self.records, 1),
            "discount_values": {str(value): count for value, count in sorted(self._discounts.items())[:16]},
            "discounts_equal_to_zero": self._terminals,
            "neighbours_of_one_episode": self._same_neighbour / max(self.records - 1, 1),
            "rewards_outside_clipping": self._clipped_outside,
        }

    def left_out(self) -> list[str]:
        names = ", ".join(feature.name for feature in _FEATURES)
        return [f"features other than {names}, in {self._with_unknown:,} records"] if self._with_unknown else []

    def warnings(self) -> list[str]:
        found = []
        if self._terminals == 0:
            found.append(
                "No discount is 0: the shard marks no terminal at all. Every row's `terminals` is False as the file "
                "says, which is not credible; do not train a value function on it."
            )
        if set(self._discounts) - {0.0, 1.0}:
            found.append(f"Discounts other than 0 and 1 occur: {sorted(self._discounts)[:8]}.")
        overridden = self.records - self._overlapping
        if overridden:
            found.append(
                f"In {overridden:,} of {self.records:,} transitions o_tp1[0:3] differs from o_t[1:4]; "
                "their next observations are stored apart, exactly."
            )
        if self._reversed > self.records // 2:
            found.append(
                "Most stacks are ordered newest first, against the expectation; they are stored as the file has them."
            )
        if self._clipped_outside:
            found.append(f"{self._clipped_outside:,} rewards lie outside [-1, 1], where clipped ones were expected.")
        return found
