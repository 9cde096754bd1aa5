"""LeRobot datasets of versions 2.0 to 3.0: Parquet files of frames, with documents in ``meta``.

Format: ``src/lerobot/datasets`` of huggingface/lerobot. A row holds what was observed at a time, the action that
was taken there, and what came of it (``next.reward``, ``next.done``, ``next.success``). In versions 2 each episode has
a file, in version 3 a file holds many; ``episode_index`` tells rows apart in both. T rows are T transitions: what was
observed after the last action is not stored.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.decoding.parquet_claims import require_honest_columns
from rlbuffers.episode import Episode
from rlbuffers.errors import FormatError, SpecError
from rlbuffers.kept_facts import KeptFacts
from rlbuffers.listing import listed
from rlbuffers.local_inputs import refuse_special
from rlbuffers.schema import REWARDS, TERMINALS, TIMEOUTS, BufferSpec, ColumnSpec, is_observation
from rlbuffers.sources.base import RowSource, blamed_on
from rlbuffers.sources.files import file_facts, finite_object, json_object_in
from rlbuffers.sources.lerobot.columns import EPISODE_INDEX, Column, found_columns
from rlbuffers.sources.lerobot.ends import EpisodeEnds
from rlbuffers.sources.lerobot.layout import KEPT, Layout, parquet_errors, parquet_module
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["FEATURES", "TASKS", "LeRobotSource"]

Array = np.ndarray[Any, Any]
FEATURES = "features"
TASKS = "tasks"
_BATCH_ROWS = 4096
_BATCH_ROWS_WITH_IMAGES = 64
# What of the info is about the files, or is said in other ways.
_SAID_ELSEWHERE = {
    "robot_type",
    "fps",
    "total_episodes",
    "total_frames",
    "total_tasks",
    "total_videos",
    "total_chunks",
    "chunks_size",
    "data_files_size_in_mb",
    "video_files_size_in_mb",
    "data_path",
    "video_path",
}


class LeRobotSource(RowSource[Episode]):
    """The episodes of one dataset, in the order of its files.

    Memory is bounded by the longest episode, with its images decoded.

    Parameters
    ----------
    folder : str or Path
        The dataset, with ``meta`` and ``data`` in it.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError, UnsupportedError, MissingDependencyError
        If it is no such dataset, or one that a buffer cannot hold; says why.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._layout = Layout(self._folder)
        self._left_out: list[str] = []
        self._ends = EpisodeEnds()
        self._numbers: set[int] = set()
        self._misstated: list[str] = []
        self._read = 0
        self._transitions = 0
        self._reward_sum = 0.0
        self._columns, self._total = self._look()
        self._facts = self._episode_facts()
        place = self._folder / KEPT
        self.kept = KeptFacts(json_object_in(place), str(place)) if place.is_file() else None
        self._spec = self.with_kept(self._make_spec())

    def _look(self) -> tuple[list[Column], int]:
        """Look at the schema of every file, and at the first row."""
        schemas, rows, first = {}, 0, None
        for path in self._layout.files:
            with parquet_errors(path):
                file = require_honest_columns(parquet_module().ParquetFile(refuse_special(path)), path)
                schemas[path] = file.schema_arrow
                rows += file.metadata.num_rows
                if EPISODE_INDEX not in schemas[path].names:
                    raise FormatError(f"{path}: expected a column {EPISODE_INDEX!r}; found {schemas[path].names}")
                if first is None and file.metadata.num_rows:
                    first = next(file.iter_batches(batch_size=1))
        if first is None:
            raise FormatError(f"{self._folder}: expected transitions, found none")
        return found_columns(schemas, first, self._layout.features, self._left_out), rows

    def _episode_facts(self) -> dict[str, ColumnSpec]:
        """Describe the numbers that are said of every episode beside its rows."""
        facts = list(self._layout.episode_facts().values())
        found = {}
        for name in sorted({name for said in facts for name in said}):
            values = [said.get(name) for said in facts]
            kinds = {type(value) for value in values}
            if kinds <= {bool} or kinds <= {int} or kinds <= {int, float}:
                dtype = np.dtype(np.bool_ if kinds == {bool} else np.int64 if kinds == {int} else np.float64)
                try:
                    found[name] = ColumnSpec(name.replace(".", "/"), dtype)
                    np.array(values, dtype)
                    continue
                except (SpecError, OverflowError):
                    found.pop(name, None)
            self._left_out.append(f"{name!r}, which is said of an episode")
        return found

    def _make_spec(self) -> BufferSpec:
        columns = {column.spec.name: column.spec for column in self._columns}
        columns.setdefault(REWARDS, ColumnSpec(REWARDS, np.dtype(np.float32)))
        if TERMINALS not in columns:
            columns |= {name: ColumnSpec(name, np.dtype(np.bool_)) for name in (TERMINALS, TIMEOUTS)}
        facts = [*self._facts.values(), ColumnSpec(EPISODE_INDEX, np.dtype(np.int64))]
        with blamed_on(self._folder):
            return BufferSpec("episodes", columns, episode_columns=facts)

    @property
    def where(self) -> str:
        """The dataset's folder."""
        return str(self._folder)

    @property
    def spec(self) -> BufferSpec:
        """Episodes, with every column that can be stored."""
        return self._spec

    def pieces(self) -> Iterator[Episode]:
        """Yield the episodes in the order of the files."""
        current: int | None = None
        parts: list[dict[str, Array]] = []
        for number, rows in self._runs():
            if parts and number != current:
                yield self._episode(current, parts)
                parts = []
            current = number
            parts.append(rows)
        if parts:
            yield self._episode(current, parts)

    def _runs(self) -> Iterator[tuple[int, dict[str, Array]]]:
        """Yield runs of rows of one episode, with its number; the next run may be of the same one."""
        names = [EPISODE_INDEX, *(column.stored for column in self._columns)]
        size = _BATCH_ROWS_WITH_IMAGES if any(column.is_image for column in self._columns) else _BATCH_ROWS
        for path in self._layout.files:
            with parquet_errors(path):
                for batch in (
                    parquet_module().ParquetFile(refuse_special(path)).iter_batches(batch_size=size, columns=names)
                ):
                    batch.validate(full=True)
                    numbers = self._episode_numbers(batch, path)
                    rows = {
                        column.spec.name: column.rows(batch.column(column.stored), path) for column in self._columns
                    }
                    edges = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
                    for start, stop in itertools.pairwise(edges):
                        yield int(numbers[start]), {name: values[start:stop] for name, values in rows.items()}

    @staticmethod
    def _episode_numbers(batch: Any, path: Path) -> Array:
        values = batch.column(EPISODE_INDEX)
        if values.null_count or not str(values.type).startswith(("int", "uint")):
            raise FormatError(f"{path}: expected whole numbers in {EPISODE_INDEX!r}")
        return np.asarray(values.to_numpy(zero_copy_only=False)).astype(np.int64)

    def _episode(self, number: int | None, parts: list[dict[str, Array]]) -> Episode:
        if number is None or number in self._numbers:
            raise FormatError(f"{self._folder}: expected the rows of episode {number} in one place, found them in two")
        self._numbers.add(number)
        rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        steps = len(next(iter(rows.values())))
        stated = self._layout.episodes.get(number, {}).get("length", steps)
        if stated != steps:
            self._misstated.append(f"episode {number}: {stated} instead of {steps}")
        self._read += 1
        self._transitions += steps
        self._reward_sum += total_reward(rows[REWARDS]) if REWARDS in rows else 0.0
        rows.setdefault(REWARDS, np.zeros(steps, np.float32))
        if TERMINALS not in rows:
            last = np.arange(steps) == steps - 1
            terminal = self._ends.is_terminal(rows)
            rows |= {TERMINALS: last & terminal, TIMEOUTS: last & (not terminal)}
        whole = any(bool(rows[name][-1]) for name in (TERMINALS, TIMEOUTS) if name in rows)
        columns = {name: values for name, values in rows.items() if not is_observation(name)}
        observations = {name: values for name, values in rows.items() if is_observation(name)}
        return Episode(columns, observations, self._said_of(number), whole)

    def _said_of(self, number: int) -> dict[str, Any]:
        facts = self._layout.episodes.get(number)
        if facts is None and self._facts:
            raise FormatError(f"{self._folder}: expected episode {number} in 'meta/episodes', like the others")
        return {EPISODE_INDEX: number, **{spec.name: (facts or {})[name] for name, spec in self._facts.items()}}

    def tally(self) -> Tally:
        """Count what was read."""
        return Tally(self._read, self._transitions, self._reward_sum)

    def metadata(self) -> dict[str, Any]:
        """Describe the dataset."""
        info = finite_object(self._layout.info)
        environment = {"robot_type": info.get("robot_type"), "fps": info.get("fps"), TASKS: self._layout.tasks}
        return self.with_kept_facts(
            {
                "environment": {name: value for name, value in environment.items() if value},
                "behavior_policy": {},
                "source": {
                    **{name: value for name, value in info.items() if name not in _SAID_ELSEWHERE},
                    "format": "lerobot",
                    "files": [
                        file_facts(path) | {"name": path.relative_to(self._folder).as_posix()}
                        for path in (*self._layout.documents, *self._layout.files)
                    ],
                },
                "measurements": {"episodes_ended_by_task": self._ends.terminal} if self._ends.asked else {},
                "warnings": list(self._warnings()),
                "left_out": self._left_out,
                "license": "",
                "citation": "",
                "notes": [
                    "What was observed after the last action of an episode is not in the files.",
                    *(f"{column.stored!r} was stored as image files." for column in self._columns if column.is_image),
                ],
            }
        )

    def _warnings(self) -> Iterator[str]:
        if not any(column.spec.name == REWARDS for column in self._columns):
            yield "The dataset has no rewards; all rewards are 0."
        stated = self._layout.stated("total_episodes")
        if stated is not None and stated != self._read:
            yield f"The info states {stated:,} episodes; there are {self._read:,}."
        frames = self._layout.stated("total_frames")
        if frames is not None and frames != self._transitions and stated == self._read:
            yield f"The info states {frames:,} rows; there are {self._transitions:,}."
        if self._misstated:
            yield f"Episodes whose stated length is another: {listed(self._misstated)}."
        yield from self._ends.warnings()

    @property
    def total(self) -> int:
        """Number of rows."""
        return self._total

    @property
    def done(self) -> int:
        """Number of rows handed out."""
        return self._transitions
