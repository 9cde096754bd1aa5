"""A Minari dataset that ``minari.load_dataset`` opens: metadata.json and one HDF5 group an episode.

Format: ``minari/dataset/_storages/hdf5_storage.py`` of Farama-Foundation/Minari, as of 0.5.3. Images
are written as they are (``jpeg_encoding`` false, which Minari reads from 0.5.4 on).

Minari needs the observation after the last action. Where the buffer does not know it, an episode that
ended by a terminal gets the zeros that stand in its place, since nobody bootstraps from there; of any
other the last transition is left out, and its observation is the last one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rlbuffers.errors import UnsupportedError, UsageError
from rlbuffers.exports.base import Export
from rlbuffers.reader import Buffer
from rlbuffers.schema import ACTIONS, OBSERVATIONS, REWARDS, TERMINALS, TIMEOUTS, ColumnSpec, is_observation
from rlbuffers.sources.minari.dataset import DATASET_ID, NO_SEED, RESET_INFOS, SEEDS, datasets_root
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["MinariExport"]

Array = np.ndarray[Any, Any]
_VERSION = "0.5.3"
_INFOS = "infos/"
_BYTES_PER_MEGABYTE = 1_000_000
_CHUNK_BYTES = 1 << 20


class MinariExport(Export):
    """Whole episodes below Minari's root."""

    suffix = ""

    def __init__(self, buffer: Buffer) -> None:
        super().__init__(buffer)
        if buffer.spec.layout != "episodes":
            raise UnsupportedError(f"{buffer.path}: Minari holds episodes; this buffer holds independent transitions")
        self._lost = _Lost()
        self._dataset_id = ""

    @classmethod
    def target(cls, output: str) -> Path:
        """Turn the id of a dataset into its folder.

        Raises
        ------
        UsageError
            If it is not of the form ``namespace/name-v0``.
        """
        if not DATASET_ID.match(output):
            raise UsageError(f"{output}: expected the id of a Minari dataset, such as cartpole/expert-v0 (-o)")
        return datasets_root() / output

    def write(self, path: Path, on_progress: Callable[[int], None]) -> None:
        """Write episode by episode."""
        data = path / "data"
        data.mkdir(parents=True)
        rows = 0
        steps = 0
        written = 0
        with h5py.File(data / "main_data.hdf5", "w", track_order=True) as file:
            for number, episode in enumerate(self.buffer.episodes()):
                rows += len(episode[REWARDS])
                on_progress(rows)
                kept = self._complete(episode)
                if kept is None:
                    continue
                _write_episode(file.create_group(f"episode_{written}"), written, kept, self._facts(number))
                steps += len(kept[REWARDS])
                written += 1
        if not written:
            raise UnsupportedError(
                f"{self.buffer.path}: no episode has an observation after an action that Minari could hold"
            )
        self._dataset_id = _id_of(path)
        size = (data / "main_data.hdf5").stat().st_size / _BYTES_PER_MEGABYTE
        document = self._metadata(written, steps, size)
        (data / "metadata.json").write_text(json.dumps(document, indent=2))

    def _complete(self, episode: dict[str, Array]) -> dict[str, Array] | None:
        """Return an episode with T + 1 observations, see the module's docstring; None if no step is left."""
        count = len(episode[REWARDS])
        observed = [name for name in episode if is_observation(name)]
        if len(episode[observed[0]]) == count + 1:
            return episode
        if TERMINALS in episode and episode[TERMINALS][-1]:
            self._lost.zeros += 1
            return {
                name: np.concatenate([rows, np.zeros_like(rows[:1])]) if name in observed else rows
                for name, rows in episode.items()
            }
        self._lost.add(episode[REWARDS][-1:], whole_episode=count == 1)
        if count == 1:
            return None
        shorter = {name: rows if name in observed else rows[:-1] for name, rows in episode.items()}
        shorter[TIMEOUTS] = np.arange(count - 1) == count - 2
        return shorter

    def _facts(self, number: int) -> dict[str, Any]:
        names = [
            name for name in self.buffer.spec.episode_columns if name == SEEDS or name.startswith(f"{RESET_INFOS}/")
        ]
        return {name: self.buffer.arrays[f"episodes/{name}"].all()[number] for name in names}

    def _metadata(self, episodes: int, steps: int, megabytes: float) -> dict[str, Any]:
        metadata = self.buffer.metadata
        environment, source = metadata.get("environment", {}), metadata.get("source", {})
        scores = environment.get("reference_scores", {})
        document = {
            "total_episodes": episodes,
            "total_steps": steps,
            "data_format": "hdf5",
            "jpeg_encoding": False,
            "observation_space": json.dumps(_space_of_observations(self.buffer)),
            "action_space": json.dumps(_space(self.buffer.spec.columns[ACTIONS])),
            "env_spec": json.dumps(environment["env_spec"]) if "env_spec" in environment else None,
            "dataset_size": round(megabytes, 1),
            "dataset_id": self._dataset_id,
            "minari_version": _VERSION,
            "algorithm_name": metadata.get("behavior_policy", {}).get("name"),
            "ref_min_score": scores.get("min"),
            "ref_max_score": scores.get("max"),
            **{name: source.get(name) for name in ("code_permalink", "description", "author", "requirements")},
        }
        return {name: value for name, value in document.items() if value is not None}

    def expected(self, before: Tally) -> Tally:
        """Take off the transitions that Minari cannot hold."""
        episodes = None if before.episodes is None else before.episodes - self._lost.episodes
        return Tally(episodes, before.transitions - self._lost.transitions, before.reward_sum - self._lost.reward_sum)

    def tally(self, path: Path) -> Tally:
        """Count the groups of the file."""
        transitions, reward_sum = 0, 0.0
        with h5py.File(path / "data" / "main_data.hdf5") as file:
            for group in file.values():
                rewards = group[REWARDS][:]
                transitions += len(rewards)
                reward_sum += total_reward(rewards)
            return Tally(len(file), transitions, reward_sum)

    def left_out(self) -> Sequence[str]:
        """Name the columns, the rows and the marks that have no place."""
        spec = self.buffer.spec
        known = {ACTIONS, REWARDS, TERMINALS, TIMEOUTS}
        columns = [
            name for name in spec.columns if not (name in known or is_observation(name) or name.startswith(_INFOS))
        ]
        facts = [name for name in spec.episode_columns if name != SEEDS and not name.startswith(f"{RESET_INFOS}/")]
        extras = [*spec.extras, *self.buffer.metadata.get("scalars", {})]
        found = [
            f"{what}: {', '.join(names)}"
            for what, names in (("columns", columns), ("what each episode has once", facts), ("of the whole", extras))
            if names
        ]
        return [*found, *self._lost.sentences()]


class _Lost:
    """What could not be written of episodes whose last observation is not known."""

    def __init__(self) -> None:
        self.transitions = 0
        self.episodes = 0
        self.reward_sum = 0.0
        self.zeros = 0

    def add(self, rewards: Array, *, whole_episode: bool) -> None:
        self.transitions += 1
        self.episodes += whole_episode
        self.reward_sum += total_reward(rewards)

    def sentences(self) -> Iterator[str]:
        if self.transitions:
            yield (
                f"the last transition of {self.transitions:,} episodes without a terminal, as what it led to "
                f"is not known (rewards of {self.reward_sum:,.6g}); they are marked truncated one step earlier"
            )
        if self.episodes:
            yield f"{self.episodes:,} episodes that consist of such a transition alone"
        if self.zeros:
            yield f"that the last observation of {self.zeros:,} terminal episodes is not known: zeros stand there"


def _id_of(partial: Path) -> str:
    """Tell the dataset's id from the temporary folder, whose name is that of the final one between dots."""
    folder = partial.with_name(partial.name.removeprefix(".").removesuffix(".partial"))
    return folder.relative_to(datasets_root()).as_posix()


def _write_episode(group: h5py.Group, number: int, episode: Mapping[str, Array], facts: Mapping[str, Any]) -> None:
    rewards = episode[REWARDS]
    count = len(rewards)
    group.attrs["id"] = number
    group.attrs["total_steps"] = count
    if int(facts.get(SEEDS, NO_SEED)) != NO_SEED:
        group.attrs["seed"] = int(facts[SEEDS])
    never = np.zeros(count, bool)
    _write(group, "terminations", episode.get(TERMINALS, never))
    _write(group, "truncations", episode.get(TIMEOUTS, never))
    infos = group.create_group("infos")
    for name, rows in episode.items():
        if name in (ACTIONS, REWARDS) or is_observation(name):
            _write(group, name, rows)
        elif name.startswith(_INFOS):
            key = name.removeprefix(_INFOS)
            reset = facts.get(f"{RESET_INFOS}/{key}")
            _write(infos, key, rows if reset is None else np.concatenate([np.asarray(reset)[None], rows]))


def _write(group: h5py.Group, name: str, rows: Array) -> None:
    """Write rows in chunks that a single read of an episode decodes quickly."""
    per_chunk = max(min(_CHUNK_BYTES // max(rows.nbytes // len(rows), 1), len(rows)), 1)
    group.create_dataset(
        name,
        data=rows,
        chunks=(per_chunk, *rows.shape[1:]),
        maxshape=(None, *rows.shape[1:]),
        compression="gzip",
        compression_opts=1,
    )


def _space_of_observations(buffer: Buffer) -> dict[str, Any]:
    names = buffer.spec.observation_names
    if names == [OBSERVATIONS]:
        return _space(buffer.spec.columns[OBSERVATIONS])
    tree: dict[str, Any] = {}
    for name in names:
        *folders, leaf = name.split("/")[1:]
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[leaf] = buffer.spec.columns[name]
    return _nested(tree)


def _nested(tree: Mapping[str, Any]) -> dict[str, Any]:
    spaces = {key: _space(value) if isinstance(value, ColumnSpec) else _nested(value) for key, value in tree.items()}
    if list(spaces) == [f"_index_{number}" for number in range(len(spaces))]:
        return {"type": "Tuple", "subspaces": list(spaces.values())}
    return {"type": "Dict", "subspaces": spaces}


def _space(column: ColumnSpec) -> dict[str, Any]:
    """Describe what values a column may hold; without a known space, all of its dtype."""
    space = column.space or {"type": "box", "low": None, "high": None}
    if "minari" in space:
        return dict(space["minari"])
    if space["type"] == "discrete" and not column.shape:
        return {"type": "Discrete", "dtype": "int64", "start": space.get("start", 0), "n": space["n"]}
    if space["type"] == "discrete":
        first = space.get("start", 0)
        space = {"low": first, "high": first + space["n"] - 1}
    lowest, highest = _limits(column.dtype)
    return {
        "type": "Box",
        "dtype": column.dtype.name,
        "shape": list(column.shape),
        "low": _bound(space["low"], lowest, column.shape),
        "high": _bound(space["high"], highest, column.shape),
    }


def _limits(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    if dtype.kind == "f":
        return -np.inf, np.inf
    if dtype.kind == "b":
        return 0, 1
    return np.iinfo(dtype).min, np.iinfo(dtype).max


def _bound(bound: Any, absent: Any, shape: tuple[int, ...]) -> Any:
    """Fill a bound's gaps, and give it the shape of a value."""
    values = np.array(bound, dtype=object)
    given = np.array([value is not None for value in values.ravel()], bool).reshape(values.shape)
    filled = np.where(given, values, absent)
    return np.broadcast_to(filled, shape).tolist()
