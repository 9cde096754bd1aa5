"""Numbers of episodes that stay different when several sources become one.

Most recordings count their episodes from 0, so the ids of two of them are the same numbers for other episodes. Those
of a later part are moved by an offset, which the metadata of the part state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from rlbuffers.episode import Episode
from rlbuffers.episode_block import EpisodeBlock
from rlbuffers.errors import FormatError
from rlbuffers.schema import EPISODE_IDS, EPISODES_GROUP, BufferSpec, ColumnSpec
from rlbuffers.sources.base import Rows, Source
from rlbuffers.sources.rl_unplugged.games import run_of_shard

__all__ = ["OFFSETS", "UniqueIds", "recording_of"]

Array = np.ndarray[Any, Any]
OFFSETS = "episode_id_offsets"
_FACTS = f"{EPISODES_GROUP}/"
# Ids from here on are drawn at random, not counted: equal ones are the same episode.
_FIRST_RANDOM = 2**53


class UniqueIds:
    """Moves the ids of each part, in the order of the parts, past those of the parts before.

    Parameters
    ----------
    parts : sequence of Source
        Their specs agree.
    spec : BufferSpec
        That of the whole.
    copies : collection of int
        Numbers of parts that hold the same rows as one before: their episodes are others.
    """

    def __init__(self, parts: Sequence[Source[Any]], spec: BufferSpec, copies: Collection[int] = ()) -> None:
        columns = {"": spec.columns, _FACTS: spec.episode_columns}
        self._groups = {
            group: _Group(parts, group, named[EPISODE_IDS], copies)
            for group, named in columns.items()
            if EPISODE_IDS in named and named[EPISODE_IDS].dtype.kind in "iu" and not named[EPISODE_IDS].shape
        }

    def moved(self, rows: Rows, part: int) -> Rows:
        """Return rows of a part with the ids that they have in the whole.

        Raises
        ------
        FormatError
            If the ids cannot be moved, as they are negative or too large for their dtype.
        """
        if "" in self._groups:
            rows = dataclasses.replace(rows, columns=self._groups[""].moved(rows.columns, part))
        if _FACTS in self._groups and isinstance(rows, Episode | EpisodeBlock):
            rows = dataclasses.replace(rows, facts=self._groups[_FACTS].moved(rows.facts, part))
        return rows

    def offsets(self, part: int) -> dict[str, int]:
        """Return what was added to the ids of a part, by the name of the column; without those that were kept."""
        found = {f"{group}{EPISODE_IDS}": members.offsets.get(part, 0) for group, members in self._groups.items()}
        return {name: offset for name, offset in found.items() if offset}


class _Group:
    """The ids that stand in one place: once a row, or once an episode."""

    def __init__(self, parts: Sequence[Source[Any]], group: str, column: ColumnSpec, copies: Collection[int]) -> None:
        self._parts = parts
        self._group = group
        self._copies = copies
        self._dtype = column.dtype
        self.offsets: dict[int, int] = {}
        self._of_recording: dict[str, int] = {}
        self._known: list[Array] | None = []  # ids of the whole so far; None if only the largest is known
        self._largest = -1

    def moved(self, values: Mapping[str, Any], part: int) -> dict[str, Any]:
        if part not in self.offsets:
            self.offsets[part] = self._offset_of(part)
        offset = self.offsets[part]
        ids = np.asarray(values[EPISODE_IDS])
        if ids.size:
            self._check(part, int(ids.min()), int(ids.max()), offset)
            self._largest = max(self._largest, int(ids.max()) + offset)
        if not offset:
            return dict(values)
        return {**values, EPISODE_IDS: (ids + self._dtype.type(offset)).astype(self._dtype)}

    def _check(self, part: int, least: int, largest: int, offset: int) -> None:
        # How far negative ids reach is not known before all were read.
        is_unsure = least < 0 and self._known is None
        if offset and (is_unsure or largest + offset > np.iinfo(self._dtype).max):
            raise FormatError(
                f"{self._parts[part].where}: its {self._group}{EPISODE_IDS} ({least} to {largest}) are taken by the "
                f"parts before, and cannot be moved past them as {self._dtype}; convert each part by itself"
            )

    def _offset_of(self, part: int) -> int:
        source = self._parts[part]
        ids = source.episode_ids(self._group)
        recording = None if part in self._copies else source.recording
        if recording in self._of_recording:
            offset = self._of_recording[recording]
        else:
            offset = self._free_offset(ids)
            if recording is not None:
                self._of_recording[recording] = offset
        if ids is None:
            self._known = None
        elif len(ids):
            self._check(part, int(ids[0]), int(ids[-1]), offset)
            if self._known is not None:
                self._known.append(ids + self._dtype.type(offset) if offset else ids)
            self._largest = max(self._largest, int(ids[-1]) + offset)
        return offset

    def _free_offset(self, ids: Array | None) -> int:
        """Return 0 if the ids are free, or can only be the same episodes, and else what moves them past all others."""
        if ids is None:
            return self._largest + 1 if self._largest < _FIRST_RANDOM else 0
        is_taken = self._known is None or any(np.isin(ids, taken).any() for taken in self._known)
        if not len(ids) or not is_taken or self._largest >= _FIRST_RANDOM <= int(ids[-1]):
            return 0
        return max(self._largest + 1 - int(ids[0]), 0)


def recording_of(metadata: Mapping[str, Any]) -> str | None:
    """Name the recording whose episodes a buffer's ``episode_ids`` count, as `Source.recording` does.

    A buffer that was chosen from another one counts as that one, and shards of a run of RL Unplugged as the run.

    Parameters
    ----------
    metadata : mapping
        The buffer's.
    """
    source = metadata.get("source", {})
    if source.get("format") == "rl-unplugged" and not any(OFFSETS in part for part in source.get("parts", [])):
        game = str(metadata.get("environment", {}).get("id"))
        runs = {run_of_shard(game, str(file.get("name"))) for file in source.get("files", [])}
        if len(runs) == 1 and None not in runs:
            return runs.pop()
    described: Mapping[str, Any] = metadata
    while len(described.get("derivation", {}).get("parents", [])) == 1:
        described = described["derivation"]["parents"][0]
    fingerprint = described.get("fingerprint")
    return fingerprint if isinstance(fingerprint, str) else None
