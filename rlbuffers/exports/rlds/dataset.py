"""An RLDS dataset as ``tfds.builder_from_directory`` opens it: one Example an episode, in TFRecord shards.

T transitions become T + 1 rows; the last one holds the final observation, its action, reward and
discount are zero. What if the final observation is not known? Nothing may be made up, and no episode
may lack its ``is_last``, or readers that join steps would run into the next episode:

- after a terminal, a row of zeros is appended and marked ``is_terminal``. Nothing is estimated from
  a terminal state, so its zeros do no harm, and readers that drop the last row keep the transition;
- otherwise the last row is the last transition. Readers that drop it lose a transition of which
  they could have made nothing, as there is no next observation.

TensorFlow Datasets' own D4RL datasets do the same. The episode's ``final_known`` says it, and
:meth:`RLDSExport.left_out` says how often.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.decoding.example_file import read_examples
from rlbuffers.decoding.example_values import FeatureValues
from rlbuffers.decoding.example_writer import serialize_example
from rlbuffers.exports.base import Export, block_rows, episode_blocks, require_episodes
from rlbuffers.exports.newest_frames import newest_frames, next_frames
from rlbuffers.exports.rlds.ends import FLAGS, EpisodeEnds, with_row
from rlbuffers.exports.rlds.features import column_leaf, features_json, packed_rows
from rlbuffers.exports.rlds.shards import TFDSShards
from rlbuffers.listing import listed
from rlbuffers.reader import Buffer
from rlbuffers.schema import (
    ACTIONS,
    EPISODES_GROUP,
    OBSERVATIONS,
    REWARDS,
    TERMINALS,
    TIMEOUTS,
    ColumnSpec,
    final_name,
)
from rlbuffers.sources.tfds.features import FEATURES_FILE, Leaf, read_features
from rlbuffers.sources.tfds.rlds import METADATA_FILE
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["RLDSExport"]

Array = np.ndarray[Any, Any]
_VERSION = "1.0.0"
_DISCOUNTS = "discounts"
_RENAMED = {ACTIONS: "action", REWARDS: "reward", _DISCOUNTS: "discount"}
_RLDS_NAMES = {"observation", *_RENAMED.values(), *FLAGS, TERMINALS, TIMEOUTS}


class RLDSExport(Export):
    """To a directory of ``dataset_info.json``, ``features.json``, ``metadata.json`` and shards.

    Raises
    ------
    UnsupportedError
        If the buffer has no episodes, or two of its columns would need the same place.
    """

    suffix = ""

    def __init__(self, buffer: Buffer) -> None:
        super().__init__(buffer)
        require_episodes(buffer, "RLDS needs episodes", "tianshou", "d4rl", "npz")
        self._episodes = EpisodeEnds(buffer)
        self._observed = {name: self._observation_leaf(name) for name in buffer.spec.observation_names}
        others = set(buffer.spec.columns) - set(self._observed) - {TERMINALS, TIMEOUTS}
        self._columns = {
            name: column_leaf(_step_path(name), buffer.spec.columns[name], images=False) for name in others
        }
        self._facts = {
            name: column_leaf(_fact_path(name), column, images=False)
            for name, column in buffer.spec.episode_columns.items()
        }
        self._features = features_json([*self._leaves(), *self._mark_leaves()])

    def _observation_leaf(self, name: str) -> Leaf:
        path = ("steps", "observation", *name.split("/")[1:])
        column = self.buffer.spec.columns[name]
        if self.buffer.spec.stack:
            column = ColumnSpec(name, column.dtype, (*column.shape[1:], 1))
        return column_leaf(path, column, images=True)

    def _leaves(self) -> list[Leaf]:
        return [*self._observed.values(), *self._columns.values(), *self._facts.values()]

    def _mark_leaves(self) -> list[Leaf]:
        """Return the features that are no columns: flags, a discount if there is none, marks."""
        steps = [Leaf(("steps", name), "tensor", "bool") for name in (*FLAGS, *self._episodes.own_flags)]
        discount = [] if _DISCOUNTS in self._columns else [Leaf(("steps", "discount"), "tensor", "float32")]
        return [*steps, *discount, *(Leaf((name,), "tensor", "bool") for name in self._episodes.marks)]

    @property
    def name(self) -> str:
        """Name of the dataset: the buffer's, as TFDS allows it."""
        name = re.sub(r"\W+", "_", self.buffer.path.stem, flags=re.ASCII).strip("_").lower()
        return name if name[:1].isalpha() else f"rlds_{name}".rstrip("_")

    def write(self, path: Path, on_progress: Callable[[int], None]) -> None:
        """Write episode by episode; memory is bounded by a block of rows, or by an episode."""
        path.mkdir()
        with TFDSShards(path, self.name) as shards:
            for first, last in episode_blocks(self._episodes.starts, self._episodes.stops, block_rows(self.buffer)):
                for features in self._examples(first, last):
                    shards.add(serialize_example(features))
                on_progress(int(self._episodes.stops[last - 1]))
        _write_json(path / "dataset_info.json", self._info(shards))
        _write_json(path / FEATURES_FILE, self._features)

    def _info(self, shards: TFDSShards) -> dict[str, Any]:
        metadata = self.buffer.metadata
        license_text = str(metadata.get("license") or "")
        return {
            "name": self.name,
            "version": _VERSION,
            "description": f"Written by rlbuffers from {self.buffer.path.name} ({self.buffer.fingerprint}).",
            "citation": str(metadata.get("citation") or ""),
            **({"redistributionInfo": {"license": license_text}} if license_text else {}),
            "fileFormat": "tfrecord",
            "disableShuffling": True,
            "splits": [shards.info()],
        }

    def keep(self, path: Path, document: dict[str, Any]) -> None:
        """Write into the file that TFDS leaves to a dataset's maker, with what is no column there."""
        derived = [] if _DISCOUNTS in self._columns else ["steps/discount"]
        _write_json(path / METADATA_FILE, {"rlbuffers": {**document, "derived": derived}})

    def names_read_again(self) -> dict[str, str]:
        """See base class."""
        return {name: f"infos/{name}" for name in self._columns if _is_renamed(name)}

    def _examples(self, first: int, last: int) -> Iterator[dict[str, FeatureValues]]:
        """Yield the features of episodes `first` to `last`, exclusive."""
        start, stop = int(self._episodes.starts[first]), int(self._episodes.stops[last - 1])
        rows = self.buffer.rows(np.arange(start, stop), list(self._columns))
        observed = self._observations(first, last, start, stop)
        facts = {name: self.buffer.arrays[f"{EPISODES_GROUP}/{name}"].slice(first, last) for name in self._facts}
        for number in range(first, last):
            own = slice(int(self._episodes.starts[number]) - start, int(self._episodes.stops[number]) - start)
            appended = self._episodes.has_appended_row(number)
            features: dict[str, FeatureValues] = {}
            for name, leaf in self._columns.items():
                features[leaf.key] = packed_rows(leaf, with_row(rows[name][own], appended))
            for name, leaf in self._observed.items():
                steps, finals = observed[name]
                final = finals[number - first : number - first + 1] if self._episodes.final_known[number] else None
                features[leaf.key] = packed_rows(leaf, with_row(steps[own], appended, final))
            for name, leaf in self._facts.items():
                features[leaf.key] = packed_rows(leaf, facts[name][number - first : number - first + 1])
            features |= self._episodes.flags(number)
            if _DISCOUNTS not in self._columns:
                features["steps/discount"] = self._episodes.discount(number)
            yield features

    def _observations(self, first: int, last: int, start: int, stop: int) -> dict[str, tuple[Array, Array]]:
        """Return each observation of the rows, and those at the ends of the episodes (zeros if not known)."""
        arrays = self.buffer.arrays
        if not self.buffer.spec.stack:
            rows = self.buffer.rows(np.arange(start, stop), list(self._observed))
            return {name: (rows[name], arrays[final_name(name)].slice(first, last)) for name in self._observed}
        frames = newest_frames(self.buffer, np.arange(start, stop))
        finals = next_frames(self.buffer, self._episodes.stops[first:last] - 1)
        return {OBSERVATIONS: (frames[..., None], finals[..., None])}

    def tally(self, path: Path) -> Tally:
        """Parse the shards again, every record."""
        (reward,) = [leaf for leaf in read_features(path) if leaf.path == ("steps", "reward")]
        episodes = transitions = 0
        reward_sum = 0.0
        for shard in sorted(path.glob("*.tfrecord-*")):
            for features, where in read_examples(shard):
                rows = len(features["steps/is_first"])
                count = rows - _last_row_is_void(features)
                rewards = reward.rows(features["steps/reward"], rows, where)
                episodes += 1
                transitions += count
                reward_sum += total_reward(rewards[:count])
        return Tally(episodes, transitions, reward_sum)

    def left_out(self) -> Sequence[str]:
        """Say what RLDS has no word for, and where the last rows are not what it says."""
        spec, found = self.buffer.spec, list(self._episodes.left_out())
        if spec.extras:
            found.append(f"arrays that belong to the whole buffer: {listed(spec.extras)}")
        if spec.stack:
            found.append(
                f"the stacking: each step has its newest frame only; stacks of {spec.stack}, and what pads the first "
                "ones of an episode, are the reader's to make"
            )
        renamed = [f"{name} (now {leaf.key})" for name, leaf in self._columns.items() if _is_renamed(name)]
        renamed += [
            f"episodes/{name} (now {self._facts[name].key})" for name in self._facts if name != self._facts[name].key
        ]
        if renamed:
            found.append(f"the names of columns that mean something else in RLDS: {listed(sorted(renamed))}")
        return found


def _step_path(name: str) -> tuple[str, ...]:
    if name in _RENAMED:
        return "steps", _RENAMED[name]
    parts = name.split("/")
    return ("steps", "infos", *parts) if _is_renamed(name) else ("steps", *parts)


def _is_renamed(name: str) -> bool:
    return name not in _RENAMED and name.split("/")[0] in _RLDS_NAMES


def _fact_path(name: str) -> tuple[str, ...]:
    parts = name.split("/")
    return ("infos", *parts) if parts[0] == "steps" else tuple(parts)


def _last_row_is_void(features: dict[str, FeatureValues]) -> bool:
    known, terminal = features.get("final_known"), features["steps/is_terminal"]
    marked = isinstance(known, np.ndarray) and not known.all()
    return not marked or (isinstance(terminal, np.ndarray) and bool(terminal[-1]))


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
