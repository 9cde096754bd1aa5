"""RLDS datasets that TensorFlow Datasets prepared, read without TensorFlow.

An Example is an episode: arrays under ``steps/`` with a row a step, and facts of the episode beside
them. What the last row of an episode holds is decided in ``endings.py``, what becomes of each
feature in ``columns.py``.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rlbuffers.decoding.claims import FREE_BYTES, IMAGE_GROWTH, most_bytes, require_room, stored_bytes
from rlbuffers.decoding.example_file import read_examples
from rlbuffers.decoding.example_values import FeatureValues
from rlbuffers.episode import Episode
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError, SpecError
from rlbuffers.kept_facts import KeptFacts
from rlbuffers.listing import listed
from rlbuffers.local_inputs import kind_of_file, refuse_special, require_inside
from rlbuffers.optional import require
from rlbuffers.reader_versions import source_facts
from rlbuffers.schema import OBSERVATIONS, REWARDS, TERMINALS, BufferSpec, ColumnSpec
from rlbuffers.sources.base import Rows, Source
from rlbuffers.sources.d4rl.datasets import all_datasets
from rlbuffers.sources.d4rl.facts import known_facts
from rlbuffers.sources.dqn_runs import SIZE
from rlbuffers.sources.flat_columns import scalar_facts
from rlbuffers.sources.rl_unplugged.reward_alignment import EpisodeAlignment
from rlbuffers.sources.rl_unplugged.tasks import CONTROL_SUITE_TASKS, LOCOMOTION_TASKS, RWRL_TASKS
from rlbuffers.sources.tfds.atari import atari_facts, atari_game, atari_notes, atari_spaces
from rlbuffers.sources.tfds.columns import STEPS, RawEpisode, RLDSDecoder, make_plan
from rlbuffers.sources.tfds.directory import DatasetInfo, Shard, read_info
from rlbuffers.sources.tfds.endings import (
    FINAL_KNOWN,
    RLBUFFERS,
    WHOLE,
    Ending,
    Endings,
    LastRow,
    builder_of,
    position_of_last_key,
)
from rlbuffers.sources.tfds.features import Leaf, read_features, read_json
from rlbuffers.sources.tfds.measurements import Measurements, scalar_text
from rlbuffers.tally import Tally
from rlbuffers.task_ends import ending_facts, impossible_terminals

__all__ = ["METADATA_FILE", "RLDSSource"]

Array = np.ndarray[Any, Any]
Features = Mapping[str, FeatureValues]
METADATA_FILE = "metadata.json"
# Enough to see whether the observations that were appended to episodes are all the same.
_FIRST_EXAMPLES = 8
# What frames a record in a TFRecord file.
_MIN_RECORD_BYTES = 16
_D4RL_NAMES = (
    (re.compile(r"d4rl_(?:mujoco|adroit)_(\w+)/(v\d)-([\w-]+)"), r"\1-\3-\2"),
    (re.compile(r"d4rl_antmaze/([\w-]+)"), r"antmaze-\1"),
)


# Builders of RL Unplugged's continuous control, whose configurations begin with the name of a task.
_RL_UNPLUGGED_SUITES = {
    "rlu_control_suite": ("RL Unplugged Control Suite", CONTROL_SUITE_TASKS),
    "rlu_locomotion": ("RL Unplugged Locomotion", LOCOMOTION_TASKS),
    "rlu_rwrl": ("RL Unplugged RWRL", RWRL_TASKS),
}
_NO_REWARDS = "The dataset has no rewards (--reward none): zeros stand in their place, which mean nothing."


class RLDSSource(Source[RawEpisode]):
    """The episodes of one split, or of all, in the order in which they are stored.

    Parameters
    ----------
    directory : str or Path
        Of a prepared version, with ``dataset_info.json``, ``features.json`` and TFRecord shards.
    split : str, optional
        Name of a split, or ``all``; by default the only one, or ``train``.
    last_row : {"auto", "observation", "transition"}
        Whether the last row of an episode holds only an observation, as RLDS says, or a transition.
        ``auto`` follows RLDS except for builders that are known to do otherwise.
    action : str or sequence of str, optional
        Field of a dict of actions that becomes ``actions``; several are concatenated in this order. The others are
        columns ``action/FIELD``.
    reward : {"none"}, optional
        That the dataset has no rewards: zeros are stored.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such dataset, or it is not RLDS; says what was expected.
    UnsupportedError
        If its shards are not TFRecord.
    UsageError
        If there is no such split or action, or the actions cannot be concatenated; lists the choices. Or if there
        are rewards although `reward` says otherwise.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        split: str | None = None,
        last_row: LastRow = "auto",
        action: str | Sequence[str] | None = None,
        reward: Literal["none"] | None = None,
    ) -> None:
        self.directory = directory = Path(directory)
        self._info = read_info(directory)
        self._splits = self._info.select(split, str(directory))
        self._shards = [shard for name in self._splits for shard in self._info.splits[name]]
        if not sum(shard.length for shard in self._shards):
            raise FormatError(f"{directory}: expected episodes, found none in split {listed(self._splits)}")
        for shard in self._shards:
            _require_whole(shard, self._info)
            require_inside(directory, shard.path)
        self._own = _own_facts(directory)
        self._builder = builder_of(self._info) if self._own is None else RLBUFFERS
        self._done = 0
        self._files: list[dict[str, Any]] = []
        self._measured = Measurements()
        self._alignment = EpisodeAlignment(atari_game(self._info.config)) if self._builder.early else None

        first = self._first_examples()
        leaves = [_sized(leaf, first[0], str(directory)) for leaf in read_features(directory)]
        steps = [leaf for leaf in leaves if leaf.path[0] == STEPS]
        facts = [leaf for leaf in leaves if leaf.path[0] != STEPS]
        self._whole_file = {leaf: first[0].get(leaf.key) for leaf in facts if self._builder.whole_file}
        facts = [leaf for leaf in facts if not self._builder.whole_file]
        self._texts = {leaf.key for leaf in steps + facts if leaf.unreadable == "text"}
        derived = set() if self._own is None else {FINAL_KNOWN, WHOLE, *self._own.get("derived", ())}
        self._plan = make_plan(
            steps + facts,
            action=[action] if isinstance(action, str) else action or (),
            no_rewards=reward == "none",
            exact_flags=self._own is not None,
            skip=derived | self._texts,
            where=str(directory),
        )
        self._terminals = 0
        self._endings = Endings(self._builder, last_row, steps)
        self._endings.compare(first)
        self._last_row = last_row
        self._extras, self._scalars, self._left_out = _belonging_to_all(self._whole_file, str(directory))
        self.kept = None if self._own is None else KeptFacts(self._own, str(directory / METADATA_FILE))
        self._spec = self.with_kept(self._make_spec())

    def _first_examples(self) -> list[Features]:
        found: list[Features] = []
        size = 0
        for shard in self._shards:
            for features, _ in read_examples(shard.path):
                found.append(features)
                size += sum(_size(values) for values in features.values())
                if len(found) == _FIRST_EXAMPLES or size > FREE_BYTES:
                    return found
        return found

    def _make_spec(self) -> BufferSpec:
        try:
            return BufferSpec(
                layout="episodes",
                columns=self._plan.column_specs(self._spaces()),
                episode_columns=[
                    ColumnSpec(name, leaf.array_dtype, leaf.row_shape) for name, leaf in self._plan.facts.items()
                ],
                extras=[ColumnSpec(name, rows.dtype, rows.shape[1:]) for name, rows in self._extras.items()],
            )
        except (SpecError, TypeError) as error:
            raise FormatError(f"{self.directory}: {error}") from error

    def _spaces(self) -> Mapping[str, Any]:
        if self._builder.early:
            return atari_spaces(self._info.config)
        return dict((self._own or {}).get("spaces", {}))

    @property
    def where(self) -> str:
        """The dataset's directory."""
        return str(self.directory)

    @property
    def spec(self) -> BufferSpec:
        """Episodes, with every feature that is an array of numbers."""
        return self._spec

    @property
    def decoder(self) -> RLDSDecoder:
        """Unpacks tensors and images."""
        return RLDSDecoder(self._plan, self._builder.early)

    def pieces(self) -> Iterator[RawEpisode]:
        """Yield the episodes of all shards."""
        needed = self._plan.keys
        for split in self._splits:
            shards = self._info.splits[split]
            count = sum(shard.length for shard in shards)
            last = position_of_last_key(split, count, shuffled=self._info.shuffled) if self._builder.whole_file else -1
            position = 0
            for shard in shards:
                most = most_bytes(shard.path, IMAGE_GROWTH)
                for features, where in self._read(shard):
                    ending = self._endings.of(features, source_last=position == last, where=where)
                    require_room(ending.rows * self._plan.row_bytes, most, where)
                    position += 1
                    self._look_at(features, ending, where)
                    if ending.transitions:
                        kept = {key: values for key, values in features.items() if key in needed}
                        yield RawEpisode(kept, ending, where)

    def _read(self, shard: Shard) -> Iterator[tuple[Features, str]]:
        """Yield the Examples of one shard, and note what the file is."""
        digest = hashlib.sha256()
        found = 0

        def on_read(piece: bytes) -> None:
            digest.update(piece)
            self._done += len(piece)

        for example in read_examples(shard.path, on_read):
            yield example
            found += 1
        if found != shard.length:
            raise _incomplete(shard, f"{found:,}")
        size = shard.path.stat().st_size
        self._files.append({"name": shard.path.name, "bytes": size, "sha256": digest.hexdigest()})

    def _look_at(self, features: Features, ending: Ending, where: str) -> None:
        """Measure what only the raw episode can tell."""
        for leaf, values in self._whole_file.items():
            if not _equal(features.get(leaf.key), values):
                raise FormatError(f"{where}: expected {leaf.key!r} to be the same in every episode; it changes here")
        rewards = self._plan.columns[REWARDS].rows(features, ending.rows, where)
        self._measured.add(features, ending, rewards, early=self._builder.early)
        self._measured.add_texts({key: features.get(key) for key in self._texts})

    def observe(self, rows: Rows) -> None:
        """Count terminals; measure where pictures change with the rewards, if these stand a row early."""
        self._terminals += int(np.count_nonzero(rows.columns[TERMINALS]))
        if self._alignment is None or not isinstance(rows, Episode):
            return
        frames = rows.observations.get(OBSERVATIONS)
        if frames is not None and frames.shape[1:] == (*SIZE, 1):
            self._alignment.add(frames[..., 0], rows.columns[REWARDS])

    def extras(self) -> Mapping[str, Array]:
        """Return what belongs to the dataset as a whole."""
        return self._extras

    def tally(self) -> Tally:
        """Count the rows of the Examples as they were read."""
        return Tally(self._measured.episodes, self._measured.transitions, self._measured.reward_sum)

    def metadata(self) -> dict[str, Any]:
        """Describe the dataset, what its last rows are, and what was left out."""
        known = known_facts(all_datasets().get(_d4rl_id(self._info)))
        if self._builder.early:
            known |= atari_facts(self._info.config)
            known["notes"] = [*known["notes"], *atari_notes(self._measured.episodes)]
        own = self._own or {}
        texts, untold = scalar_facts(self._measured.texts())
        environment = dict(own.get("environment") or known["environment"] or _rl_unplugged_task(self._info))
        if self._measured.counts["episodes_with_inner_terminals"]:
            environment["terminals_end_episodes"] = False
        return self.with_kept_facts(
            {
                "environment": environment,
                "behavior_policy": dict(own.get("behavior_policy") or known["behavior_policy"]),
                "source": source_facts(
                    "tfds",
                    **known["source"],
                    name=self._info.name,
                    **({"config": self._info.config} if self._info.config else {}),
                    version=self._info.version,
                    splits=self._splits,
                    last_row=self._last_row,
                    **({"action_fields": self._plan.action_fields} if self._plan.action_fields else {}),
                    files=self._files,
                ),
                "measurements": {
                    **self._measured.to_json(),
                    **({"reward_alignment": self._alignment.to_json()} if self._alignment else {}),
                },
                "warnings": [
                    *(self._alignment.warnings() if self._alignment else []),
                    *([] if self._plan.columns[REWARDS].leaves else [_NO_REWARDS]),
                    *self._measured.warnings(),
                    *impossible_terminals(environment, self._terminals),
                ],
                "left_out": [
                    *self._plan.left_out,
                    *self._lost_texts(),
                    *untold,
                    *self._left_out,
                    *self._measured.left_out(),
                ],
                "scalars": {**self._scalars, **texts, **own.get("scalars", {})},
                "license": self._info.license or known["license"],
                "citation": self._info.citation or known["citation"],
                "notes": [*known["notes"], *self._dtype_notes()],
            }
        )

    def _lost_texts(self) -> list[str]:
        changing = sorted(self._measured.changing_texts)
        of_steps = [key for key in changing if key.startswith(f"{STEPS}/")]
        return [
            *(f"{key!r}, which is text" for key in of_steps),
            *(f"{key!r}, a text that differs between episodes" for key in changing if key not in of_steps),
        ]

    def _dtype_notes(self) -> list[str]:
        narrow = [name for name, leaf in self._plan.leaves.items() if np.dtype(leaf.dtype) != leaf.array_dtype]
        if not narrow:
            return []
        return [f"features.json says float64 of {listed(sorted(narrow))}; the files hold float32, and so do these."]

    @property
    def total(self) -> int:
        """Size of the shards in bytes."""
        return sum(shard.path.stat().st_size for shard in self._shards)

    @property
    def done(self) -> int:
        """Bytes read so far."""
        return self._done


def _require_whole(shard: Shard, info: DatasetInfo) -> None:
    """Refuse a file that is missing or too small for its records, before their number is relied upon."""
    if kind_of_file(shard.path) != "a file":
        refuse_special(shard.path)
        there = [
            name
            for name, parts in info.splits.items()
            if parts and all(kind_of_file(part.path) == "a file" for part in parts)
        ]
        others = f", or read a split that is there (--split {listed(there)})" if there else ""
        raise BufferNotFoundError(f"{shard.path}: there is no such file; copy or prepare the dataset again{others}")
    if shard.length < 0 or stored_bytes(shard.path) < shard.length * _MIN_RECORD_BYTES:
        raise _incomplete(shard, "fewer")


def _incomplete(shard: Shard, found: str) -> CorruptDataError:
    return CorruptDataError(
        f"{shard.path}: dataset_info.json says {shard.length:,} episodes, the file holds {found}; "
        "copy or prepare the dataset again"
    )


def _own_facts(directory: Path) -> dict[str, Any] | None:
    """Return what our export wrote beside the dataset, or None if it is not of our making."""
    path = require_inside(directory, directory / METADATA_FILE)
    if not path.is_file():
        return None
    facts: Any = read_json(path).get("rlbuffers")
    if facts is None:
        return None
    kinds = {"environment": dict, "behavior_policy": dict, "scalars": dict, "spaces": dict, "derived": list}
    wrong = not isinstance(facts, dict) or any(
        not isinstance(facts.get(key, kind()), kind) for key, kind in kinds.items()
    )
    if wrong or not all(isinstance(key, str) for key in facts.get("derived", [])):
        raise FormatError(f"{path}: expected the facts that rlbuffers writes under 'rlbuffers'")
    return dict(facts)


def _sized(leaf: Leaf, features: Features, where: str) -> Leaf:
    """Give images whose size features.json leaves open the size of the first one."""
    files = features.get(leaf.key)
    if leaf.kind != "image" or None not in leaf.shape[:2] or not isinstance(files, list) or not files:
        return leaf
    image_module = require("PIL.Image", extra="tfds", purpose="Decoding images")
    try:
        with image_module.open(io.BytesIO(files[0]), formats=("PNG", "JPEG")) as image:
            return leaf.with_shape((image.height, image.width, leaf.shape[2] or len(image.getbands())))
    except (OSError, SyntaxError, ValueError, image_module.DecompressionBombError) as error:
        raise CorruptDataError(f"{where}: {leaf.key!r}: the first image is damaged: {error}") from error


def _belonging_to_all(
    values: Mapping[Leaf, FeatureValues | None], where: str
) -> tuple[dict[str, Array], dict[str, Any], list[str]]:
    """Sort what belongs to a whole dataset into arrays, facts about scalars, and what cannot be stored."""
    arrays: dict[str, Array] = {}
    scalars: dict[str, Any] = {}
    left_out = []
    for leaf, stored in values.items():
        name = f"metadata/{leaf.key}"
        if leaf.unreadable == "text" and isinstance(stored, list) and len(stored) == 1:
            scalars[name] = scalar_text(stored[0])
        elif leaf.unreadable is not None:
            left_out.append(f"{leaf.key!r}, which is {leaf.unreadable}")
        else:
            array = leaf.rows(stored, 1, where)[0]
            (arrays if array.ndim else scalars)[name] = array
    facts, untold = scalar_facts(scalars)
    return arrays, facts, left_out + untold


def _size(values: FeatureValues) -> int:
    return values.nbytes if isinstance(values, np.ndarray) else sum(map(len, values))


def _equal(values: FeatureValues | None, others: FeatureValues | None) -> bool:
    if values is None or others is None:
        return values is others
    if isinstance(values, np.ndarray) and isinstance(others, np.ndarray):
        return values.tobytes() == others.tobytes()
    return isinstance(values, list) and isinstance(others, list) and values == others


def _rl_unplugged_task(info: DatasetInfo) -> dict[str, Any]:
    """Return what is known of the environment of a dataset that TFDS built from RL Unplugged; empty for others."""
    suite, tasks = _RL_UNPLUGGED_SUITES.get(info.name, ("", {}))
    task = next((name for name in tasks if info.config.startswith(name)), None)
    if task is None:
        return {}
    named = {"id": task, "suite": suite}
    return {**named, **ending_facts(named), **tasks[task].environment}


def _d4rl_id(info: DatasetInfo) -> str:
    """Return D4RL's name of a dataset that TFDS built from it; empty for others."""
    for pattern, template in _D4RL_NAMES:
        match = pattern.fullmatch(f"{info.name}/{info.config}")
        if match:
            return match.expand(template).replace("-mixed-", "-medium-replay-")
    return ""
