"""Minari datasets: a folder with ``data/metadata.json`` and the episodes beside it.

Format: ``minari/dataset/minari_storage.py`` of Farama-Foundation/Minari. An episode has T + 1
observations and T of everything else; its infos have T + 1 entries too, the first from the reset.
Nothing of the minari package is needed but to download.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.episode import Episode
from rlbuffers.errors import FormatError
from rlbuffers.kept_facts import NAME, KeptFacts
from rlbuffers.reader_versions import source_facts
from rlbuffers.schema import REWARDS, TERMINALS, BufferSpec, ColumnSpec
from rlbuffers.sources.base import RowSource, blamed_on
from rlbuffers.sources.files import file_facts
from rlbuffers.sources.minari.arrow import ArrowPayload
from rlbuffers.sources.minari.columns import Columns, ColumnSurvey
from rlbuffers.sources.minari.facts import DatasetFacts
from rlbuffers.sources.minari.hdf5 import HDF5Payload
from rlbuffers.sources.minari.places import HDF5_FILE, METADATA_FILE
from rlbuffers.sources.minari.stored import Payload
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["SEEDS", "SEEDS_KNOWN", "MinariSource"]

SEEDS = "seeds"
SEEDS_KNOWN = "seeds_known"
_MAX_SEED = np.iinfo(np.uint64).max
# What a buffer says in other ways: the rest of what stands beside an episode is named in left_out.
_SAID_ELSEWHERE = re.compile(r"id|total_steps|seed|rewards_(sum|mean|std|max|min)")


class MinariSource(RowSource[Episode]):
    """The episodes of one dataset.

    Parameters
    ----------
    folder : Path
        The dataset's ``data`` folder, see `rlbuffers.sources.minari.places.dataset_folder`.

    Raises
    ------
    FormatError, CorruptDataError, UnsupportedError, MissingDependencyError
        If it is not such a dataset, or one that a buffer cannot hold; says why.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._payload: Payload = HDF5Payload(folder) if (folder / HDF5_FILE).exists() else ArrowPayload(folder)
        self._left_out: set[str] = set()
        self._seeds: list[int | None] = []
        self._done = 0
        self._num_transitions = 0
        self._reward_sum = 0.0
        self._without_final = 0
        self._inner_terminals = 0
        with self._payload as payload:
            self._facts = DatasetFacts(folder, payload.attributes)
            text = payload.attributes.get(NAME)
            self.kept = None if text is None else KeptFacts.of_text(text, str(folder))
            self._count = self._checked_count(payload)
            leaves = self._facts.leaves()
            self._shapes = {name: leaf.shape for name, leaf in leaves.items()}
            survey = ColumnSurvey(leaves, str(folder))
            for number in range(self._count):
                self._look(payload, number, survey)
            self._payload_warnings = payload.warnings()
        self._columns: Columns = survey.columns()
        self._spec = self.with_kept(self._make_spec())

    def _checked_count(self, payload: Payload) -> int:
        stated, found = self._facts.count("total_episodes"), payload.num_episodes
        if found == 0:
            raise FormatError(f"{self._folder}: expected episodes, found none")
        if stated is not None and stated != found:
            raise FormatError(f"{self._folder}: the metadata say {stated:,} episodes, there are {found:,}")
        return found

    def _look(self, payload: Payload, number: int, survey: ColumnSurvey) -> None:
        """Look at an episode and at what is said of it before any is read."""
        where = f"{self._folder}: episode {number}"
        steps = survey.look(payload.stored(number, self._shapes), where)
        facts = payload.facts(number)
        stated = facts.get("total_steps")
        if stated is not None and stated != steps:
            raise FormatError(f"{where}: expected {stated} steps, as stated beside it; found {steps:,}")
        self._seeds.append(self._seed(facts))
        for name in facts:
            root = name.split("/")[0]
            if root == "options":
                self._left_out.add("the options that episodes were reset with")
            elif not _SAID_ELSEWHERE.fullmatch(root):
                self._left_out.add(f"{root!r}, which is said of an episode")

    def _seed(self, facts: Mapping[str, Any]) -> int | None:
        seed = facts.get("seed")
        if seed is None or (isinstance(seed, int) and 0 <= seed <= _MAX_SEED):
            return seed
        self._left_out.add("seeds that are no whole numbers of 64 bits")
        return None

    @property
    def _has_seeds(self) -> bool:
        return any(seed is not None for seed in self._seeds)

    def _make_spec(self) -> BufferSpec:
        seeds = [ColumnSpec(SEEDS, np.dtype(np.uint64)), ColumnSpec(SEEDS_KNOWN, np.dtype(np.bool_))]
        with blamed_on(self._folder):
            facts = [*(seeds if self._has_seeds else []), *self._columns.fact_specs()]
            return BufferSpec("episodes", self._columns.specs(), episode_columns=facts)

    @property
    def where(self) -> str:
        """The dataset's folder."""
        return str(self._folder)

    @property
    def spec(self) -> BufferSpec:
        """Episodes with the columns that all of them have."""
        return self._spec

    def pieces(self) -> Iterator[Episode]:
        """Yield the episodes in order."""
        names = list(self._columns.dtypes)
        with self._payload as payload:
            for number, seed in enumerate(self._seeds):
                arrays = payload.read(number, names, self._shapes)
                self._count_steps(np.asarray(arrays[REWARDS]))
                once = {SEEDS: seed or 0, SEEDS_KNOWN: seed is not None} if self._has_seeds else {}
                episode = self._columns.episode(arrays, once, f"{self._folder}: episode {number}")
                self._inner_terminals += int(episode.columns[TERMINALS][:-1].sum())
                self._without_final += len(next(iter(episode.observations.values()))) == len(episode)
                yield episode

    def _count_steps(self, rewards: np.ndarray[Any, Any]) -> None:
        self._done += 1
        self._num_transitions += len(rewards)
        self._reward_sum += total_reward(rewards)

    def tally(self) -> Tally:
        """Count what was read."""
        return Tally(self._done, self._num_transitions, self._reward_sum)

    def metadata(self) -> dict[str, Any]:
        """Describe the dataset."""
        facts = self._facts
        inner = {"terminals_end_episodes": False} if self._inner_terminals else {}
        return self.with_kept_facts(
            {
                "environment": facts.environment() | inner,
                "behavior_policy": facts.behavior_policy(),
                "source": source_facts("minari", **{**facts.source(), "files": self._files()}),
                "measurements": {},
                "warnings": self._warnings(),
                "left_out": sorted({*self._left_out, *self._columns.left_out, *facts.left_out}),
                "license": "",
                "citation": "",
                "notes": self._notes(),
            }
        )

    @property
    def files(self) -> Sequence[Path]:
        """What holds the episodes."""
        return self._payload.files

    def _files(self) -> list[dict[str, Any]]:
        paths = [*self._payload.files]
        if (self._folder / METADATA_FILE).exists():
            paths.insert(0, self._folder / METADATA_FILE)
        return [file_facts(path) | {"name": path.relative_to(self._folder).as_posix()} for path in paths]

    def _warnings(self) -> list[str]:
        warnings = [*self._payload_warnings, *self._facts.warnings, *self._columns.warnings]
        stated = self._facts.count("total_steps")
        if stated is not None and stated != self._num_transitions:
            warnings.append(f"The metadata say {stated:,} steps, there are {self._num_transitions:,}.")
        if self._without_final:
            warnings.append(f"{self._without_final:,} episodes lack the observation after their last action.")
        return warnings

    def _notes(self) -> list[str]:
        notes = [
            f"{name!r} was stored as image files; what JPEG loses is lost." for name in sorted(self._columns.files)
        ]
        if self._has_seeds:
            notes.append(f"{SEEDS} is 0 where an episode was reset without one; {SEEDS_KNOWN} is False there.")
        return [*notes, *self._columns.notes]

    @property
    def total(self) -> int:
        """Number of episodes."""
        return self._count

    @property
    def done(self) -> int:
        """Number of episodes handed out."""
        return self._done
