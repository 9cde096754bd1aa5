"""Minari datasets: a folder with ``data/metadata.json`` and the episodes beside it.

Format: ``minari/dataset/minari_storage.py`` of Farama-Foundation/Minari. An episode has T + 1
observations and T of everything else; its infos have T + 1 entries too, the first from the reset.
Nothing of the minari package is needed but to download.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.decoding.images import decode_images
from rlbuffers.episode import Episode
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError, SpecError, UnsupportedError
from rlbuffers.optional import require
from rlbuffers.schema import (
    ACTIONS,
    OBSERVATIONS,
    REWARDS,
    TERMINALS,
    TIMEOUTS,
    BufferSpec,
    ColumnSpec,
    is_observation,
)
from rlbuffers.sources.base import IdentityDecoder, Source
from rlbuffers.sources.files import file_facts
from rlbuffers.sources.minari.arrow import ArrowPayload
from rlbuffers.sources.minari.hdf5 import HDF5Payload
from rlbuffers.sources.minari.spaces import Leaf, leaves_of, parse_space, space_of_column
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["DATASET_ID", "RESET_INFOS", "SEEDS", "MinariSource", "dataset_folder", "datasets_root"]

Array = np.ndarray[Any, Any]
DATASET_ID = re.compile(r"^(?:[-_\w]+/)*[-_\w]+-v\d+$")
SEEDS = "seeds"
RESET_INFOS = "reset_infos"
NO_SEED = -1
_KNOWN_VERSIONS = re.compile(r"^0\.[45]\.\d+$")
_JPEG_MAGIC = b"\xff\xd8"
_FLAGS = {"terminations": TERMINALS, "truncations": TIMEOUTS}
_KEPT_FACTS = ("dataset_id", "minari_version", "code_permalink", "description", "requirements", "author", "data_format")


def datasets_root() -> Path:
    """Return where Minari keeps datasets: ``$MINARI_DATASETS_PATH`` or ``~/.minari/datasets``."""
    return Path(os.environ.get("MINARI_DATASETS_PATH") or "~/.minari/datasets").expanduser()


def dataset_folder(name: str) -> Path:
    """Find a dataset by its folder or by its id; download it if it is an id and not there.

    Raises
    ------
    BufferNotFoundError
        If there is nothing of that name and it is no id.
    MissingDependencyError
        If it must be downloaded, and the minari package is not installed.
    """
    for folder in (Path(name).expanduser(), datasets_root() / name):
        for candidate in (folder / "data", folder):
            if (candidate / "metadata.json").is_file() or (candidate / "main_data.hdf5").is_file():
                return candidate
    if not DATASET_ID.match(name) or Path(name).exists():
        raise BufferNotFoundError(
            f"{name}: expected the folder of a Minari dataset (with data/metadata.json), or an id such as "
            f"D4RL/pen/human-v2"
        )
    minari = require("minari", extra="minari", purpose=f"Downloading {name}")
    try:
        minari.download_dataset(name)
    except Exception as error:
        raise BufferNotFoundError(f"{name}: minari cannot download it ({error})") from error
    return datasets_root() / name / "data"


class MinariSource(Source[Episode]):
    """The episodes of one dataset.

    Parameters
    ----------
    folder : Path
        The dataset's ``data`` folder, see `dataset_folder`.

    Raises
    ------
    FormatError, CorruptDataError, UnsupportedError, MissingDependencyError
        If it is not such a dataset, or one that a buffer cannot hold; says why.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._payload: HDF5Payload | ArrowPayload = (
            HDF5Payload(folder) if (folder / "main_data.hdf5").exists() else ArrowPayload(folder)
        )
        self._warnings: list[str] = []
        self._left_out: set[str] = set()
        self._jpeg: set[str] = set()
        self._done = 0
        self._num_transitions = 0
        self._reward_sum = 0.0
        self._without_final = 0
        with self._payload as payload:
            self._facts = self._read_facts(payload)
            self._count = self._checked_count(payload)
            self._leaves = self._read_leaves()
            self._has_seeds = any("seed" in payload.facts(number) for number in range(self._count))
            first = self._rows_of(payload, 0)
        self._reset_infos = sorted(name for name in first.facts if name.startswith(RESET_INFOS))
        self._spec = self._make_spec(first)

    def _read_facts(self, payload: HDF5Payload | ArrowPayload) -> dict[str, Any]:
        path = self._folder / "metadata.json"
        if not path.exists():  # Minari 0.4
            return {name: _plain(value) for name, value in payload.attributes.items()}
        try:
            facts = json.loads(path.read_text())
        except ValueError as error:
            raise CorruptDataError(f"{path}: not JSON: {error}") from error
        if not isinstance(facts, dict):
            raise FormatError(f"{path}: expected a JSON object")
        version = str(facts.get("minari_version"))
        if not _KNOWN_VERSIONS.match(version):
            self._warnings.append(f"Written by Minari {version}, which this reader was not made for.")
        return facts

    def _checked_count(self, payload: HDF5Payload | ArrowPayload) -> int:
        stated, found = self._facts.get("total_episodes"), payload.num_episodes
        if found == 0:
            raise FormatError(f"{self._folder}: expected episodes, found none")
        if stated is not None and int(stated) != found:
            raise FormatError(f"{self._folder}: the metadata says {stated} episodes, there are {found}")
        return found

    def _read_leaves(self) -> dict[str, Leaf]:
        leaves: dict[str, Leaf] = {}
        for key, name in (("observation_space", OBSERVATIONS), ("action_space", ACTIONS)):
            if self._facts.get(key) is None:
                continue
            where = f"{self._folder / 'metadata.json'}: {key}"
            leaves.update({leaf.name: leaf for leaf in leaves_of(parse_space(self._facts[key], where), name, where)})
        several = [name for name in leaves if name.startswith(f"{ACTIONS}/")]
        if several:
            raise UnsupportedError(
                f"{self._folder}: the actions are several ({', '.join(several)}); a buffer holds one array of actions. "
                "Flatten them in the environment before recording"
            )
        return leaves

    def _rows_of(self, payload: HDF5Payload | ArrowPayload, number: int) -> Episode:
        """Read an episode and check what must be there."""
        where = f"{self._folder}: episode {number}"
        arrays, others = payload.arrays(number, {name: leaf.shape for name, leaf in self._leaves.items()})
        self._left_out.update(f"{name!r}, which is no array of numbers" for name in others)
        missing = [name for name in (ACTIONS, REWARDS, *_FLAGS) if name not in arrays]
        if missing or not any(is_observation(name) for name in arrays):
            raise FormatError(f"{where}: expected {', '.join(missing or [OBSERVATIONS])}; found {', '.join(arrays)}")
        count = len(arrays[REWARDS])
        columns: dict[str, Array] = {}
        observations: dict[str, Array] = {}
        facts: dict[str, Any] = {}
        for name, values in arrays.items():
            rows = self._decoded(name, values, where)
            root = name.split("/")[0]
            if root == OBSERVATIONS:
                observations[name] = rows
            elif root == "infos":
                self._sort_info(name, rows, count, columns, facts)
            elif name in (ACTIONS, REWARDS, *_FLAGS):
                _require_rows(name, rows, count, where)
                columns[_FLAGS.get(name, name)] = rows != 0 if name in _FLAGS else rows
            else:
                self._left_out.add(f"{name!r}, which the format does not describe")
        for name, rows in observations.items():
            if len(rows) not in (count, count + 1):
                raise FormatError(f"{where}: expected {count + 1:,} rows in {name!r}, found {len(rows):,}")
        if self._has_seeds:
            facts[SEEDS] = self._seed(payload.facts(number))
        whole = bool(columns[TERMINALS][-1:].any() or columns[TIMEOUTS][-1:].any())
        return Episode(columns, observations, facts, whole)

    def _decoded(self, name: str, values: Any, where: str) -> Array:
        """Return rows; images that are files are decoded."""
        leaf = self._leaves.get(name)
        if isinstance(values, list):
            files = values
        elif leaf is not None and leaf.may_be_image and values.ndim == 2 and bytes(values[0, :2]) == _JPEG_MAGIC:
            files = [bytes(row) for row in values]  # files that happen to have one length
        else:
            return np.asarray(values)
        if leaf is None:
            raise FormatError(f"{where}: {name!r} holds files, and the metadata do not say what they are")
        self._jpeg.add(name)
        return decode_images(files, leaf.shape, f"{where}: {name!r}", extra="minari")

    def _sort_info(self, name: str, rows: Array, count: int, columns: dict[str, Array], facts: dict[str, Any]) -> None:
        """Keep an info with the action that it came after, and that of the reset with the episode."""
        if len(rows) == count + 1:
            columns[name] = rows[1:]
            facts[RESET_INFOS + name.removeprefix("infos")] = rows[0]
        elif len(rows) == count:
            columns[name] = rows
        else:
            self._left_out.add(f"{name!r}, which has neither one entry a step nor one more")

    def _seed(self, facts: Mapping[str, Any]) -> int:
        seed = facts.get("seed")
        for name in facts:
            if name.split("/")[0] == "options":
                self._left_out.add("the options that episodes were reset with")
        return NO_SEED if seed is None else int(seed)

    def _make_spec(self, first: Episode) -> BufferSpec:
        named = {**first.columns, **first.observations}
        try:
            columns = [self._column(name, rows) for name, rows in named.items()]
            facts = [
                ColumnSpec(name, np.asarray(value).dtype if name != SEEDS else np.dtype(np.int64), np.shape(value))
                for name, value in first.facts.items()
            ]
            return BufferSpec("episodes", columns, episode_columns=facts)
        except SpecError as error:
            raise FormatError(f"{self._folder}: {error}") from error

    def _column(self, name: str, rows: Array) -> ColumnSpec:
        leaf = self._leaves.get(name)
        space = space_of_column(leaf.space) if leaf is not None else None
        try:
            return ColumnSpec(name, rows.dtype, rows.shape[1:], space)
        except SpecError:
            if space is None:
                raise
            self._warnings.append(
                f"The space of {name!r} does not fit its rows ({rows.dtype} {rows.shape[1:]}); left out."
            )
            return ColumnSpec(name, rows.dtype, rows.shape[1:])

    @property
    def where(self) -> str:
        """The dataset's folder."""
        return str(self._folder)

    @property
    def spec(self) -> BufferSpec:
        """Episodes with the columns of the first one."""
        return self._spec

    @property
    def decoder(self) -> IdentityDecoder:
        """Episodes need no decoding."""
        return IdentityDecoder()

    def pieces(self) -> Iterator[Episode]:
        """Yield the episodes in order."""
        with self._payload as payload:
            for number in range(self._count):
                episode = self._rows_of(payload, number)
                if len(episode) == 0:
                    raise FormatError(f"{self._folder}: episode {number}: expected steps, found none")
                self._done += 1
                self._num_transitions += len(episode)
                self._reward_sum += total_reward(episode.columns[REWARDS])
                self._without_final += len(next(iter(episode.observations.values()))) == len(episode)
                yield episode
        stated = self._facts.get("total_steps")
        if stated is not None and int(stated) != self._num_transitions:
            raise FormatError(f"{self._folder}: the metadata says {stated} steps, there are {self._num_transitions}")

    def tally(self) -> Tally:
        """Count what was read."""
        return Tally(self._count, self._num_transitions, self._reward_sum)

    def metadata(self) -> dict[str, Any]:
        """Describe the dataset."""
        facts = self._facts
        environment: dict[str, Any] = {}
        spec = _loaded(facts.get("env_spec"))
        if spec:
            environment = {"id": spec.get("id"), "env_spec": spec, "max_episode_steps": spec.get("max_episode_steps")}
        scores = {"min": facts.get("ref_min_score"), "max": facts.get("ref_max_score")}
        if None not in scores.values():
            environment["reference_scores"] = scores
        notes = [
            f"{name!r} was stored as JPEG, so its images had lost detail before they came here."
            for name in sorted(self._jpeg)
        ]
        if self._has_seeds:
            notes.append(f"{SEEDS} is {NO_SEED} where an episode was reset without one.")
        warnings = list(self._warnings)
        if self._without_final:
            warnings.append(f"{self._without_final:,} episodes lack the observation after their last action.")
        return {
            "environment": environment,
            "behavior_policy": {"name": facts["algorithm_name"]} if facts.get("algorithm_name") else {},
            "source": {
                "format": "minari",
                "files": [file_facts(path) for path in self._payload.files],
                **{name: facts[name] for name in _KEPT_FACTS if facts.get(name) is not None},
            },
            "measurements": {},
            "warnings": warnings,
            "left_out": sorted(self._left_out),
            "license": "",
            "citation": "",
            "notes": notes,
        }

    @property
    def total(self) -> int:
        """Number of episodes."""
        return self._count

    @property
    def done(self) -> int:
        """Number of episodes handed out."""
        return self._done


def _require_rows(name: str, rows: Array, count: int, where: str) -> None:
    if rows.ndim == 0 or len(rows) != count:
        raise FormatError(f"{where}: expected {count:,} rows in {name!r}, like 'rewards'; found {rows.shape}")


def _loaded(text: Any) -> dict[str, Any]:
    """Read a JSON object that stands in a text; {} if there is none."""
    try:
        value = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _plain(value: Any) -> Any:
    """Turn an HDF5 attribute into a JSON value."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
