"""A LeRobot dataset of version 3.0, which current LeRobot reads as it is.

Format: see `rlbuffers.sources.lerobot.dataset`. ``meta/info.json``, ``meta/stats.json``, ``meta/tasks.parquet``,
``meta/episodes/chunk-000/file-000.parquet`` and ``data/chunk-CCC/file-FFF.parquet`` with many episodes a file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.exports.base import Export, block_rows, require_episodes
from rlbuffers.exports.lerobot.features import DONE, Feature, features_of
from rlbuffers.exports.newest_frames import newest_frames
from rlbuffers.listing import listed
from rlbuffers.optional import require
from rlbuffers.reader import Buffer
from rlbuffers.schema import EPISODE_LENGTHS, EPISODE_STARTS, EPISODES_GROUP, OBSERVATIONS, TERMINALS, TIMEOUTS
from rlbuffers.sources.lerobot.columns import EPISODE_INDEX, REWARD, column_names
from rlbuffers.sources.lerobot.dataset import FEATURES, TASKS
from rlbuffers.sources.lerobot.layout import EXTRA, INFO, KEPT, SAID_ELSEWHERE, SAID_OF_FILES
from rlbuffers.stats import ColumnStatistics, total_reward
from rlbuffers.tally import Tally

__all__ = ["LeRobotExport"]

Array = np.ndarray[Any, Any]
_PURPOSE = "Writing LeRobot datasets"
_VERSION = "v3.0"
_CHUNK_FILES = 1000
_FILE_MEGABYTES = 100
_VIDEO_MEGABYTES = 200
_MEGABYTE = 1 << 20
_STATISTICS = ("min", "max", "mean", "std")
_TASK_INDEX = "infos/task_index"
_TIMESTAMP = "infos/timestamp"


class LeRobotExport(Export):
    """Whole episodes.

    Raises
    ------
    UnsupportedError
        If the buffer has no episodes, or a column has more axes than LeRobot stores.
    MissingDependencyError
        If pyarrow is not installed.
    """

    suffix = ""
    kept_place = KEPT

    def __init__(self, buffer: Buffer) -> None:
        super().__init__(buffer)
        require_episodes(buffer, "LeRobot holds episodes", "tianshou", "d4rl", "npz")
        self._parquet = require("pyarrow.parquet", extra=EXTRA, purpose=_PURPOSE)
        self._arrow = require("pyarrow", extra=EXTRA, purpose=_PURPOSE)
        self._features, self._told = features_of(buffer)
        self._names = {feature.name for feature in self._features}
        self._starts = buffer.arrays[EPISODE_STARTS].all()
        self._lengths = buffer.arrays[EPISODE_LENGTHS].all()
        environment = buffer.metadata.get("environment", {})
        self._fps = environment.get("fps")
        self._tasks = self._all_tasks(environment)
        self._facts = {
            name: column
            for name, column in buffer.spec.episode_columns.items()
            if column.shape == () and name not in SAID_ELSEWHERE and not name.startswith(SAID_OF_FILES)
        }

    def _all_tasks(self, environment: Mapping[str, Any]) -> list[str]:
        """Return the text of each task, by its number; LeRobot wants one, if only an empty one."""
        known = environment.get(TASKS)
        texts = known if isinstance(known, dict) else {}
        last = 0
        if _TASK_INDEX in self.buffer.spec.columns:
            last = int(self.buffer.arrays[_TASK_INDEX].all().max())
        only = "" if texts else str(environment.get("id") or "")
        return [str(texts.get(str(number), only)) for number in range(last + 1)]

    def write(self, path: Path, on_progress: Callable[[int], None]) -> None:
        """Write the frames, then what is said of them; memory is bounded by a block of rows."""
        (path / "meta" / "episodes" / "chunk-000").mkdir(parents=True)
        whole = {feature.name: ColumnStatistics() for feature in self._features}
        episodes = list(self._write_frames(path, whole, on_progress))
        self._write_table(path / "meta" / "episodes" / "chunk-000" / "file-000.parquet", self._episodes_table(episodes))
        self._write_table(path / "meta" / "tasks.parquet", self._tasks_table())
        _write_json(path / "meta" / "stats.json", self._stats(whole, int(self._lengths.sum())))
        _write_json(path / INFO, self._info())

    def _write_frames(
        self, path: Path, whole: Mapping[str, ColumnStatistics], on_progress: Callable[[int], None]
    ) -> Iterator[dict[str, Any]]:
        """Write the data files and yield what is said of each episode."""
        number, writer = -1, None
        place = path
        try:
            for episode in range(len(self._lengths)):
                if writer is None or place.stat().st_size >= _FILE_MEGABYTES * _MEGABYTE:
                    if writer is not None:
                        writer.close()
                    number += 1
                    chunk, file = divmod(number, _CHUNK_FILES)
                    place = path / "data" / f"chunk-{chunk:03d}" / f"file-{file:03d}.parquet"
                    place.parent.mkdir(parents=True, exist_ok=True)
                    writer = self._parquet.ParquetWriter(place, self._schema(), compression="snappy")
                own = {feature.name: ColumnStatistics() for feature in self._features}
                tasks: set[int] = set()
                for rows in self._blocks(episode):
                    writer.write_table(self._table(rows))
                    tasks.update(np.unique(rows["task_index"]).tolist())
                    for feature in self._features:
                        measured = _measured(rows[feature.name], feature)
                        own[feature.name].update(measured)
                        whole[feature.name].update(measured)
                yield self._said_of(episode, chunk, file, tasks, own)
                on_progress(int(self._starts[episode] + self._lengths[episode]))
        finally:
            if writer is not None:
                writer.close()

    def _blocks(self, episode: int) -> Iterator[dict[str, Array]]:
        start, stop = int(self._starts[episode]), int(self._starts[episode] + self._lengths[episode])
        step = block_rows(self.buffer)
        for begin in range(start, stop, step):
            yield self._rows(np.arange(begin, min(begin + step, stop)), episode)

    def _rows(self, numbers: Array, episode: int) -> dict[str, Array]:
        """Return rows by the names of the features."""
        stacked = {OBSERVATIONS} if self.buffer.spec.stack else set()
        names = [feature.column for feature in self._features if feature.column is not None]
        rows = self.buffer.rows(numbers, [name for name in names if name not in stacked])
        rows |= {name: newest_frames(self.buffer, numbers)[..., None] for name in stacked}
        found = {feature.name: rows[feature.column] for feature in self._features if feature.column is not None}
        places = numbers - self._starts[episode]
        made = {
            "timestamp": (places / (self._fps or 1)).astype(np.float32),
            "frame_index": places,
            EPISODE_INDEX: np.full(len(numbers), episode),
            "index": numbers,
            "task_index": np.zeros(len(numbers), np.int64),
            DONE: self._done(numbers),
        }
        return {name: rows for name, rows in (made | found).items() if name in self._names}

    def _done(self, numbers: Array) -> Array:
        names = [name for name in (TERMINALS, TIMEOUTS) if name in self.buffer.spec.columns]
        flags = self.buffer.rows(numbers, names) if names else {}
        done = np.zeros(len(numbers), bool)
        for rows in flags.values():
            done |= rows
        return done

    def _schema(self) -> Any:
        return self._arrow.schema([(feature.name, feature.arrow_type()) for feature in self._features])

    def _table(self, rows: Mapping[str, Array]) -> Any:
        arrays = [feature.arrow_rows(rows[feature.name]) for feature in self._features]
        return self._arrow.table(arrays, schema=self._schema())

    def _said_of(
        self, episode: int, chunk: int, file: int, tasks: set[int], own: Mapping[str, ColumnStatistics]
    ) -> dict[str, Any]:
        start, length = int(self._starts[episode]), int(self._lengths[episode])
        statistics = self._stats(own, length)
        return {
            "episode_index": episode,
            "tasks": [self._tasks[task] for task in sorted(tasks)],
            "length": length,
            "data/chunk_index": chunk,
            "data/file_index": file,
            "dataset_from_index": start,
            "dataset_to_index": start + length,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
            **{f"stats/{name}/{key}": value for name, told in statistics.items() for key, value in told.items()},
        }

    def _stats(self, statistics: Mapping[str, ColumnStatistics], count: int) -> dict[str, Any]:
        """Return LeRobot's statistics: of images a number a channel, between 0 and 1."""
        found: dict[str, Any] = {}
        for feature in self._features:
            told = statistics[feature.name].to_json()
            values = {key: np.asarray(told.get(key, np.nan), np.float64) for key in _STATISTICS}
            if feature.is_image:
                values = {key: value.reshape(-1, 1, 1) / 255 for key, value in values.items()}
            found[feature.name] = {key: _json_list(value) for key, value in values.items()} | {"count": [count]}
        return found

    def _episodes_table(self, episodes: Sequence[Mapping[str, Any]]) -> Any:
        columns = {name: [episode[name] for episode in episodes] for name in episodes[0]}
        arrays = {name: self._arrow.array(values) for name, values in columns.items()}
        for name in self._facts:
            arrays[name] = self._arrow.array(self.buffer.arrays[f"{EPISODES_GROUP}/{name}"].all())
        return self._arrow.table(arrays)

    def _tasks_table(self) -> Any:
        """Return the tasks with the mark by which pandas takes the texts for the index, as LeRobot has it."""
        table = self._arrow.table({"task_index": np.arange(len(self._tasks)), "task": self._tasks})
        described = [
            {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy, "metadata": None}
            for name, kind, numpy in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
        ]
        pandas = {"index_columns": ["task"], "column_indexes": [], "columns": described, "pandas_version": "2.0.0"}
        return table.replace_schema_metadata({"pandas": json.dumps(pandas)})

    def _write_table(self, path: Path, table: Any) -> None:
        self._parquet.write_table(table, path, compression="snappy")

    def _info(self) -> dict[str, Any]:
        environment = self.buffer.metadata.get("environment", {})
        return {
            "codebase_version": _VERSION,
            "robot_type": environment.get("robot_type"),
            "total_episodes": len(self._lengths),
            "total_frames": int(self._lengths.sum()),
            "total_tasks": len(self._tasks),
            "chunks_size": _CHUNK_FILES,
            "data_files_size_in_mb": _FILE_MEGABYTES,
            "video_files_size_in_mb": _VIDEO_MEGABYTES,
            "fps": self._fps or 1,
            "splits": {"train": f"0:{len(self._lengths)}"},
            "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
            "video_path": None,
            "features": {feature.name: self._described(feature) for feature in self._features},
        }

    def _described(self, feature: Feature) -> dict[str, Any]:
        """Describe a feature, with the names of its elements if the buffer came from LeRobot and has them."""
        told = feature.info()
        source = self.buffer.metadata.get("source", {}).get(FEATURES, {}).get(feature.name, {})
        if told["names"] is None and source.get("shape") == told["shape"] and source.get("dtype") == told["dtype"]:
            told["names"] = source.get("names")
        return told

    def tally(self, path: Path) -> Tally:
        """Count what stands in the Parquet files."""
        transitions, reward_sum = 0, 0.0
        episodes: set[int] = set()
        for file in sorted(path.glob("data/*/*.parquet")):
            for batch in self._parquet.ParquetFile(file).iter_batches(columns=[EPISODE_INDEX, REWARD]):
                rewards = batch.column(REWARD).to_numpy(zero_copy_only=False)
                transitions += len(rewards)
                reward_sum += total_reward(rewards)
                episodes.update(np.unique(batch.column(EPISODE_INDEX).to_numpy()).tolist())
        return Tally(len(episodes), transitions, reward_sum)

    def names_read_again(self) -> dict[str, str]:
        """See base class."""
        stored = [feature.name for feature in self._features]
        names = column_names(stored, stored)
        return {feature.column: names[feature.name] for feature in self._features if feature.column}

    def left_out(self) -> Sequence[str]:
        """Name what has no place."""
        spec, found = self.buffer.spec, list(self._told)
        known = len(self._lengths) - len(self.buffer.rows_without_next)
        if known:
            found.append(f"what was observed after the last action, where it is known: of {known:,} episodes")
        if spec.stack:
            found.append(
                f"the stacking: each step has its newest frame only; stacks of {spec.stack} need delta_timestamps"
            )
        if EPISODE_INDEX in spec.episode_columns:
            numbers = self.buffer.arrays[f"{EPISODES_GROUP}/{EPISODE_INDEX}"].all()
            if (numbers != np.arange(len(numbers))).any():
                found.append("the numbers of the episodes: they are numbered anew")
        facts = [name for name in spec.episode_columns if name not in self._facts and name != EPISODE_INDEX]
        if facts:
            found.append(f"what each episode has once: {listed(facts)}")
        whole = [*spec.extras, *self.buffer.metadata.get("scalars", {})]
        if whole:
            found.append(f"of the whole buffer: {listed(whole)}")
        if not self._fps:
            found.append("the time between steps, which is not known: 1 frame a second is stated")
        return found


def _measured(rows: Array, feature: Feature) -> Array:
    """Return rows as statistics are made of them: of images all pixels of a channel, of numbers one a row a vector."""
    return (
        rows.reshape(-1, feature.shape[-1]) if feature.is_image else rows.reshape(len(rows), *(feature.shape or (1,)))
    )


def _json_list(values: Array) -> list[Any]:
    listed: list[Any] = np.nan_to_num(np.atleast_1d(values)).tolist()
    return listed


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=4, allow_nan=False) + "\n", encoding="utf-8")
