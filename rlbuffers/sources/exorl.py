"""Folders of one archive (``.npz``) an episode: ExORL, DrQ-v2 and URLB, and the DreamerV2 files of V-D4RL.

Written by ``save_episode`` of denisyarats/exorl (replay_buffer.py) and of danijar's dreamerv2 (common/replay.py). Row t
of an archive holds an observation and the ``action``, ``reward`` and ``discount`` that led to it, so T + 1 rows are T
transitions and the first row of these three holds placeholders.

- ``observation`` (DreamerV2: ``image``); ``physics``, where it is there, is the simulator's state that was observed.
- The task ended where ``is_terminal`` is set, or without it where the discount is 0; any other episode ended by time.
- ``is_last``, where it is there, is False in the last row of an episode that was still going on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.decoding.npz_archive import NpzArchive
from rlbuffers.episode import Episode
from rlbuffers.errors import FormatError
from rlbuffers.listing import listed
from rlbuffers.reader_versions import source_facts
from rlbuffers.schema import ACTIONS, OBSERVATIONS, REWARDS, TERMINALS, TIMEOUTS, BufferSpec, ColumnSpec
from rlbuffers.sources.base import RowSource, blamed_on
from rlbuffers.sources.field_names import DISCOUNTS
from rlbuffers.sources.files import file_facts, require_file
from rlbuffers.sources.flat_columns import flat_column, is_storable
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["ExORLSource"]

Array = np.ndarray[Any, Any]
_OBSERVED = ("observation", "image")
# What led to a row's observation, by its name in the buffer.
_LED = {ACTIONS: "action", REWARDS: "reward", DISCOUNTS: "discount"}
_PHYSICS = "physics"
_MARKS = ("is_first", "is_last", "is_terminal")
# Of more files than these the metadata name the folder.
_MOST_FILES = 64


class ExORLSource(RowSource[Episode]):
    """Episodes of several archives, in the order given; one is held in memory at a time.

    Parameters
    ----------
    paths : sequence of Path
        The archives, at least one.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or the first one is not such an archive; says what was expected.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = [require_file(Path(path)) for path in paths]
        if not self._paths:
            raise FormatError("expected archives of one episode each, got none")
        self._current = self._paths[0]
        first = NpzArchive(self._current)
        missing = [name for name in _LED.values() if name not in first.arrays]
        observed = [name for name in _OBSERVED if name in first.arrays]
        if missing or not observed:
            wanted = [*([] if observed else ["observation or image"]), *missing]
            raise FormatError(
                f"{self._current}: expected arrays {listed(wanted)}, one row a step; found "
                f"{listed(sorted(first.arrays)) or 'none'}"
            )
        self._names = {OBSERVATIONS: observed[0], **_LED, **({_PHYSICS: _PHYSICS} if _PHYSICS in first.arrays else {})}
        self._left_out = [
            f"{name!r}, of which it is not known to which row it belongs"
            for name in first.arrays
            if name not in {*self._names.values(), *_MARKS}
        ]
        self._left_out += first.left_out
        self._spec = self._make_spec(self._rows_of(self._current))
        self._done = self._transitions = self._placeholders = 0
        self._reward_sums: list[float] = []

    def _make_spec(self, rows: dict[str, Array]) -> BufferSpec:
        columns = [ColumnSpec(name, rows[name].dtype, rows[name].shape[1:]) for name in self._names]
        flags = [ColumnSpec(name, np.dtype(np.bool_)) for name in (TERMINALS, TIMEOUTS)]
        with blamed_on(self._current):
            return BufferSpec("episodes", [*columns, *flags])

    def _rows_of(self, path: Path) -> dict[str, Array]:
        """Read an archive: T + 1 rows of every column, and of the marks that it has."""
        archive = NpzArchive(path)
        names = {**self._names, **{mark: mark for mark in _MARKS if mark in archive.arrays}}
        count = archive.arrays["action"].shape[:1] if "action" in archive.arrays else ()
        rows = {}
        for name, source in names.items():
            member = archive.arrays.get(source)
            if member is None or not member.shape or not is_storable(member.dtype) or member.shape[:1] != count:
                found = "nothing" if member is None else f"{member.dtype} {member.shape}"
                raise FormatError(f"{path}: expected numbers in {source!r}, as many rows as in 'action'; found {found}")
            column = archive.read(source)
            if name in (DISCOUNTS, *_MARKS):
                column = flat_column(REWARDS, column, f"{path}: {source!r}")
            rows[name] = flat_column(name, column, str(path))
        return rows

    @property
    def where(self) -> str:
        """The archive that is read."""
        return str(self._current)

    @property
    def files(self) -> Sequence[Path]:
        """The archives."""
        return self._paths

    @property
    def spec(self) -> BufferSpec:
        """Episodes of observations, actions, rewards, discounts, terminals, timeouts, and physics if there are any."""
        return self._spec

    def pieces(self) -> Iterator[Episode]:
        """Yield the episodes, one of each archive that holds a transition."""
        for path in self._paths:
            self._current = path
            rows = self._rows_of(path)
            for name in self._names:
                column, found = self._spec.columns[name], rows[name]
                if (found.dtype, found.shape[1:]) != (column.dtype, column.shape):
                    raise FormatError(
                        f"{path}: expected {self._names[name]!r} of dtype {column.dtype} and shape {column.shape} as "
                        f"in {self._paths[0].name}; found {found.dtype} {found.shape[1:]}"
                    )
            self._done += 1
            if len(rows[ACTIONS]) > 1:
                yield self._episode(path, rows)

    def _episode(self, path: Path, rows: dict[str, Array]) -> Episode:
        terminals = rows["is_terminal"][1:] != 0 if "is_terminal" in rows else rows[DISCOUNTS][1:] == 0
        if terminals[:-1].any():
            raise FormatError(
                f"{path}: expected one episode, but the task ends after row {int(terminals.argmax()) + 1:,} of "
                f"{len(terminals):,}"
            )
        is_over = "is_last" not in rows or bool(rows["is_last"][-1]) or bool(terminals[-1])
        timeouts = np.zeros(len(terminals), bool)
        timeouts[-1] = is_over and not terminals[-1]
        columns = {name: rows[name][1:] for name in _LED} | {TERMINALS: terminals, TIMEOUTS: timeouts}
        if _PHYSICS in rows:
            columns[_PHYSICS] = rows[_PHYSICS][:-1]
        self._transitions += len(terminals)
        self._reward_sums.append(total_reward(columns[REWARDS]))
        self._placeholders += bool(np.nan_to_num(rows[REWARDS][0]) != 0)
        return Episode(columns, {OBSERVATIONS: rows[OBSERVATIONS]}, {}, is_over)

    def tally(self) -> Tally:
        """Count the transitions that the archives held."""
        return Tally(len(self._reward_sums), self._transitions, float(np.sum(self._reward_sums)))

    def metadata(self) -> dict[str, Any]:
        """Describe the archives."""
        empty = len(self._paths) - len(self._reward_sums)
        lost = [f"{_PHYSICS!r} of the last row of each episode"] if _PHYSICS in self._names else []
        strange = (
            f"The first row of {self._placeholders:,} episodes holds a reward, before which there was no action. It is "
            "left out; if it belongs to the first action, these files are not of this format."
        )
        return {
            "environment": {},
            "behavior_policy": {},
            "source": source_facts(
                "exorl",
                files=self._file_facts(),
                columns=self._names,
                shifted="actions, rewards and discounts, by one row",
            ),
            "measurements": {},
            "warnings": [strange] if self._placeholders else [],
            "left_out": [
                *self._left_out,
                *lost,
                *([f"{empty:,} archives without a transition"] if empty else []),
            ],
            "license": "",
            "citation": "",
            "notes": [
                "Row t of a file holds the action, reward and discount that led to observation t. They were moved to "
                "the row of the observation in which the action was taken.",
            ],
        }

    def _file_facts(self) -> list[dict[str, Any]]:
        facts = [file_facts(path) for path in self._paths]
        if len(facts) <= _MOST_FILES:
            return facts
        lines = "".join(f"{found['sha256']}  {found['name']}\n" for found in facts)  # as sha256sum prints them
        folder = {"name": self._paths[0].parent.name, "files": len(facts)}
        size = sum(found["bytes"] for found in facts)
        return [{**folder, "bytes": size, "sha256": hashlib.sha256(lines.encode()).hexdigest()}]

    @property
    def total(self) -> int:
        """Number of archives."""
        return len(self._paths)

    @property
    def done(self) -> int:
        """Number of archives read."""
        return self._done
