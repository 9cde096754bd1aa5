"""RLlib's offline data: what its workers recorded as JSON lines or Parquet.

All files are read twice: first for what all rows have in common and for where each episode has its last row, then for
the episodes. An episode is held until its last row was read, so memory is bounded by a batch and the episodes that
stand in turn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.episode import Episode
from rlbuffers.errors import BufferNotFoundError, FormatError
from rlbuffers.local_inputs import refuse_special
from rlbuffers.reader_versions import source_facts
from rlbuffers.schema import (
    NEXT_OBSERVATIONS,
    TERMINALS,
    TIMEOUTS,
    BufferSpec,
    ColumnSpec,
    is_observation,
    next_name,
)
from rlbuffers.sources.base import RowSource, blamed_on
from rlbuffers.sources.files import file_facts, in_natural_order, require_file
from rlbuffers.sources.flat_columns import cut_episodes
from rlbuffers.sources.flat_ends import SHIFTED, reset_warnings, unmarked_resets
from rlbuffers.sources.rllib.batches import Batch, json_batches
from rlbuffers.sources.rllib.columns import DONES, Survey, ends_of
from rlbuffers.sources.rllib.parquet import parquet_batches
from rlbuffers.sources.rllib.runs import STEP, RunFinder
from rlbuffers.tally import Tally

__all__ = ["RLlibSource"]

Array = np.ndarray[Any, Any]
_JSON = (".json", ".jsonl", ".ndjson")
_PARQUET = (".parquet",)
_PARQUET_MAGIC = b"PAR1"
_ONLY_DONES = (
    "The files have only 'dones', which does not tell truncated episodes from terminated ones: every end is a terminal "
    "here, also where a time limit cut the episode. Values learned from it are too low there."
)


class RLlibSource(RowSource[Episode]):
    """Episodes in the order in which they begin in the files; one may go on from file to file.

    Parameters
    ----------
    paths : path or sequence of paths
        Files of JSON lines or Parquet. A directory stands for all in and below it, in natural order.
    policy : str, optional
        Which policy's steps to take where batches hold those of several.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError, UsageError, MissingDependencyError
        If there is no such file, or it does not hold steps; says what was expected.
    """

    def __init__(self, paths: str | Path | Sequence[str | Path], policy: str | None = None) -> None:
        given = [paths] if isinstance(paths, str | Path) else list(paths)
        self.paths = _files([Path(path) for path in given])
        self._where = str(given[0]) if len(given) == 1 else f"{given[0]} and {len(given) - 1:,} more"
        self._policy = policy
        self._bytes_read = 0
        of_policy = "" if policy is None else f", policy {policy!r}"
        self._survey = Survey(self._batches(), self._where + of_policy)
        self._only_dones = TERMINALS not in self._survey.columns
        self._episodes = self._resets = self._gaps = self._unreasoned = 0
        self._spec = self._make_spec()

    @property
    def where(self) -> str:
        """The files, or the first of them."""
        return self._where

    @property
    def files(self) -> Sequence[Path]:
        """The files."""
        return self.paths

    def _batches(self) -> Iterator[Batch]:
        for path in self.paths:
            read = parquet_batches if _is_parquet(path) else json_batches
            yield from (batch for batch in read(path, self._policy, self._note) if len(batch))

    def _note(self, count: int) -> None:
        self._bytes_read += count

    def _make_spec(self) -> BufferSpec:
        columns = [
            spec
            for name, spec in self._survey.columns.items()
            if name != DONES and name.partition("/")[0] != NEXT_OBSERVATIONS
        ]
        if self._only_dones:
            columns.append(ColumnSpec(TERMINALS, np.dtype(np.bool_)))
        with blamed_on(self._where):
            return BufferSpec(layout="episodes", columns=columns, episode_columns=self._survey.episode_columns.values())

    @property
    def spec(self) -> BufferSpec:
        """Episodes, with every column that all batches have."""
        return self._spec

    def pieces(self) -> Iterator[Episode]:
        """Read the files again and yield the episodes."""
        last_batches = self._survey.last_batches
        runs = RunFinder()
        held: dict[int, list[dict[str, Array]]] = {}
        following = 0
        for number, batch in enumerate(self._batches()):
            named = self._survey.named(batch)
            rows = self._survey.kept(named)
            for run in runs.runs_of(named, ends_of(named)):
                part = {name: values[run.start : run.stop] for name, values in rows.items()}
                held.setdefault(run.number, []).append(part)
            while following < len(last_batches) and last_batches[following] <= number:
                yield from self._episodes_of(held.pop(following))
                following += 1

    def _episodes_of(self, parts: list[dict[str, Array]]) -> Iterator[Episode]:
        rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        facts = {name: rows[name][0] for name in self._survey.episode_columns}
        steps = rows.get(STEP)
        columns = {name: values for name, values in rows.items() if name in self._survey.columns}
        done = columns.pop(DONES, None)
        ends = ends_of(rows)
        if self._only_dones:
            columns[TERMINALS] = ends & ~columns.get(TIMEOUTS, np.False_)
        elif done is not None:
            self._unreasoned += int((done & ~columns[TERMINALS] & ~columns.get(TIMEOUTS, np.False_)).sum())
        resets = unmarked_resets(columns, ends)
        gaps = self._gaps_in(steps, columns, ends | resets)
        self._resets += int(resets.sum())
        self._gaps += int(gaps.sum())
        start = 0
        for episode in cut_episodes(columns, ends | resets | gaps, facts=facts):
            self._episodes += 1
            yield episode if self._begins(steps, start) else dataclasses.replace(episode, whole=False)
            start += len(episode)

    def _gaps_in(self, steps: Array | None, columns: Mapping[str, Array], ends: Array) -> Array:
        """Find rows behind which steps are missing by their numbers: bool; next observations would show it better."""
        gaps = np.zeros(len(ends), bool)
        has_next = any(next_name(name) in columns for name in columns if is_observation(name))
        if steps is not None and steps.ndim == 1 and steps.dtype.kind in "iu" and not has_next:
            gaps[:-1] = steps[1:] != steps[:-1] + 1
        return gaps & ~ends

    def _begins(self, steps: Array | None, start: int) -> bool:
        """Whether the first step of an episode is there, as far as numbers of steps tell."""
        first = self._survey.first_step
        return steps is None or first is None or int(steps[start]) == first <= 1

    def tally(self) -> Tally:
        """Count what the first reading found, and the episodes that the second one cut."""
        return Tally(self._episodes, self._survey.rows, self._survey.reward_sum)

    def metadata(self) -> dict[str, Any]:
        """Describe the files."""
        counts = {"unmarked_resets": self._resets, "gaps_between_steps": self._gaps}
        return {
            "environment": {},
            "behavior_policy": {"name": self._policy} if self._policy else {},
            "source": source_facts("rllib", files=[file_facts(path) for path in self.paths]),
            "measurements": {name: count for name, count in counts.items() if count},
            "warnings": self._warnings(),
            "left_out": [*([SHIFTED] if self._survey.has_shifted else []), *self._survey.left_out],
            "license": "",
            "citation": "",
            "notes": [],
        }

    def _warnings(self) -> list[str]:
        found = reset_warnings(self._resets, self._survey.rows)
        if self._only_dones and TIMEOUTS not in self._survey.columns:
            found.append(_ONLY_DONES)
        if self._gaps:
            found.append(
                f"After {self._gaps:,} rows the number of the step (t) jumps: steps are missing. The episode is cut "
                "there, with neither terminal nor timeout, and episodes/whole is False."
            )
        if self._unreasoned:
            found.append(
                f"{self._unreasoned:,} rows are done but neither terminated nor truncated. The episode is cut there, "
                "and episodes/whole is False."
            )
        return found

    @property
    def total(self) -> int:
        """Bytes of the files, which are read twice."""
        return 2 * sum(path.stat().st_size for path in self.paths)

    @property
    def done(self) -> int:
        """Bytes read so far."""
        return self._bytes_read


def _files(given: Sequence[Path]) -> list[Path]:
    """Replace each directory by the files in and below it, in natural order."""
    found: list[Path] = []
    for path in given:
        if not path.is_dir():
            found.append(require_file(path))
            continue
        inside = in_natural_order(
            file
            for file in path.rglob("*")
            if file.suffix in (*_JSON, *_PARQUET) and file.is_file() and not file.name.startswith((".", "_"))
        )
        if not inside:
            raise BufferNotFoundError(f"{path}: there is no {', '.join((*_JSON, *_PARQUET))} file in this directory")
        if len({file.suffix in _PARQUET for file in inside}) > 1:
            raise FormatError(f"{path}: holds JSON and Parquet files, which may be the same data; name those to read")
        found += inside
    return found


def _is_parquet(path: Path) -> bool:
    with refuse_special(path).open("rb") as file:
        return file.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC
