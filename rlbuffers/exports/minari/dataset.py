"""A Minari dataset that ``minari.load_dataset`` opens: metadata.json and one HDF5 group an episode.

Format: ``minari/dataset/_storages/hdf5_storage.py`` of Farama-Foundation/Minari. It is written as Minari
0.5.3 does, but for images: Minari opens these with Pillow, whatever they are, so they are PNG files, which
lose nothing. Images that PNG cannot give back are written as they are; that needs Minari 0.5.4.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py

from rlbuffers.errors import UnsupportedError, UsageError
from rlbuffers.exports.base import Export, require_episodes
from rlbuffers.exports.facts_beside import keep_in_hdf5
from rlbuffers.exports.kept_steps import KeptSteps
from rlbuffers.exports.minari.episodes import MinariEpisodes
from rlbuffers.hdf5_writing import written_hdf5
from rlbuffers.listing import listed
from rlbuffers.reader import Buffer
from rlbuffers.schema import ACTIONS, REWARDS
from rlbuffers.sources.minari.column_spaces import is_image, is_png, observation_space, space_of
from rlbuffers.sources.minari.places import HDF5_FILE, METADATA_FILE, datasets_root, is_dataset_id
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["MinariExport"]

_VERSION = "0.5.3"
_VERSION_WITH_RAW_IMAGES = "0.5.4"
_BYTES_PER_MEGABYTE = 1_000_000
_TEXTS = ("code_permalink", "description")
_LISTS = ("author", "author_email", "requirements", "combined_datasets")


class MinariExport(Export):
    """Whole episodes below Minari's root.

    Raises
    ------
    UnsupportedError
        If the buffer has no episodes, or none of which Minari could hold a step.
    """

    suffix = ""

    def __init__(self, buffer: Buffer) -> None:
        super().__init__(buffer)
        require_episodes(buffer, "Minari holds episodes", "tianshou", "d4rl", "npz")
        self._ends = KeptSteps(buffer)
        if not self._ends.num_episodes:
            raise UnsupportedError(
                f"{buffer.path}: Minari needs an observation after each action, and no episode has one; export to d4rl "
                "or npz"
            )
        observed = [buffer.spec.columns[name] for name in buffer.spec.observation_names]
        images = {column.name: space for column in observed if is_image(space := space_of(column))}
        self._as_files = all(is_png(space) for space in images.values())
        self._episodes = MinariEpisodes(buffer, self._ends, frozenset(images if self._as_files else ()))
        self._observation_space = observation_space(observed)
        self._dataset_id = ""

    @classmethod
    def target(cls, output: str) -> Path:
        """Turn the id of a dataset into its folder.

        Raises
        ------
        UsageError
            If it is not of the form ``namespace/name-v0``.
        """
        if not is_dataset_id(output):
            raise UsageError(f"{output}: expected the id of a Minari dataset, such as cartpole/expert-v0 (-o)")
        return datasets_root() / output

    def write(self, path: Path, on_progress: Callable[[int], None]) -> None:
        """Write the episodes, then what is said of them."""
        data = path / "data"
        data.mkdir(parents=True)
        with written_hdf5(data / HDF5_FILE, on_progress, track_order=True) as (file, on_progress):
            self._episodes.write(file, on_progress)
        self._dataset_id = _id_of(path)
        megabytes = (data / HDF5_FILE).stat().st_size / _BYTES_PER_MEGABYTE
        (data / METADATA_FILE).write_text(json.dumps(self._metadata(megabytes), indent=2))

    def _metadata(self, megabytes: float) -> dict[str, Any]:
        metadata = self.buffer.metadata
        environment, source = metadata.get("environment", {}), metadata.get("source", {})
        scores = environment.get("reference_scores", {})
        document = {
            "total_episodes": self._ends.num_episodes,
            "total_steps": self._ends.num_steps,
            "data_format": "hdf5",
            "jpeg_encoding": self._as_files,
            "observation_space": json.dumps(self._observation_space),
            "action_space": json.dumps(space_of(self.buffer.spec.columns[ACTIONS])),
            **{name: json.dumps(environment[name]) for name in ("env_spec", "eval_env_spec") if name in environment},
            "dataset_size": round(megabytes, 1),
            "dataset_id": self._dataset_id,
            "minari_version": _VERSION if self._as_files else _VERSION_WITH_RAW_IMAGES,
            "algorithm_name": metadata.get("behavior_policy", {}).get("name"),
            "ref_min_score": scores.get("min"),
            "ref_max_score": scores.get("max"),
            "num_episodes_average_score": source.get("num_episodes_average_score"),
            **{name: source[name] for name in _TEXTS if isinstance(source.get(name), str)},
            **{name: _listed(source[name]) for name in _LISTS if source.get(name)},
        }
        return {name: value for name, value in document.items() if value is not None}

    def keep(self, path: Path, document: dict[str, Any]) -> None:
        """Write into the file of episodes, where Minari looks for nothing once there are metadata beside it."""
        keep_in_hdf5(path / "data" / HDF5_FILE, "/", document)

    def expected(self, before: Tally) -> Tally:
        """Take off the transitions that Minari cannot hold."""
        return self._ends.expected(before)

    def tally(self, path: Path) -> Tally:
        """Count the groups of the file."""
        transitions, reward_sum = 0, 0.0
        with h5py.File(path / "data" / HDF5_FILE) as file:
            for name in file:  # `values` would have None for what cannot be read
                rewards = file[name][REWARDS][:]
                transitions += len(rewards)
                reward_sum += total_reward(rewards)
            return Tally(len(file), transitions, reward_sum)

    def left_out(self) -> Sequence[str]:
        """Name the columns, the rows and the marks that have no place."""
        spec, metadata = self.buffer.spec, self.buffer.metadata
        lost = self._episodes.unplaced() | {"of the whole buffer": [*spec.extras, *metadata.get("scalars", {})]}
        found = [f"{what}: {listed(names)}" for what, names in lost.items() if names]
        environment = metadata.get("environment", {})
        if environment.get("id") and "env_spec" not in environment:
            found.append(f"that the environment is {environment['id']}: Minari wants gymnasium's whole specification")
        if not self._as_files:
            found.append(
                "what Minari before 0.5.4 could read: PNG files would not give these images back in their shape"
            )
        return [*found, *self._ends.left_out()]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _id_of(partial: Path) -> str:
    """Tell the dataset's id from the temporary folder, whose name is that of the final one between dots."""
    folder = partial.with_name(partial.name.removeprefix(".").removesuffix(".partial"))
    return folder.relative_to(datasets_root()).as_posix()
