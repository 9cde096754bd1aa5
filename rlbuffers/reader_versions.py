"""Versions of the readers: which ones made buffers that are wrong, and how such a buffer is recognised.

A reader writes its version into the buffer's ``source``, as ``reader_version`` (1 where there is none). When a fault
of a reader that made wrong data is mended, the format gets a new version and a line in :data:`MENDS`; `info`,
`validate` and `train` then say of older buffers that they need converting again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlbuffers.kept_facts import EXPORTED_FROM
from rlbuffers.remarks import content_warnings
from rlbuffers.sources.d4rl.datasets import dataset_of_file
from rlbuffers.sources.ogbench_names import find_ogbench

__all__ = ["MENDS", "Mend", "faults_of", "source_facts", "warnings_of"]

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Mend:
    """A fault of a reader that was mended.

    Parameters
    ----------
    format : str
        As in the metadata's ``source``.
    version : int
        The first version without the fault.
    concerns : callable
        Is given the metadata of a buffer, or of a part of it, and its ``source``; tells whether the fault is in them.
    fault : str
        What is wrong with the buffer.
    """

    format: str
    version: int
    concerns: Callable[[Facts, Facts], bool]
    fault: str


def _is_atari_episodes(facts: Facts, source: Facts) -> bool:
    return "unclipped_rewards" in facts.get("spec", {}).get("columns", {})


def _is_rlu_atari(facts: Facts, source: Facts) -> bool:
    return str(source.get("name", "")).startswith("rlu_atari")


def _has_masks(facts: Facts, source: Facts) -> bool:
    """One mask a row beside terminals, or a file of OGBench."""
    columns = facts.get("spec", {}).get("columns", {})
    has_masks = columns.get("masks", {}).get("shape") in ([], [1]) and "timeouts" not in columns
    names = [Path(str(file.get("name", ""))) for file in source.get("files", [])]
    return has_masks or any(map(find_ogbench, names))


def _has_other_ends(facts: Facts, source: Facts) -> bool:
    """Other flags of ends beside terminals, and no timeouts."""
    columns = facts.get("spec", {}).get("columns", {})
    flags = [columns[name] for name in ("done", "dones", "truncated", "truncations") if name in columns]
    return any(flag.get("shape") in ([], [1]) for flag in flags) and "timeouts" not in columns


def _is_named_by_its_id(facts: Facts, source: Facts) -> bool:
    """A D4RL file that was not known by its id: terminals are goals there, or timeouts have to be rebuilt."""
    if source.get("dataset") or facts.get("spec", {}).get("layout") != "episodes":
        return False
    has_timeouts = "timeouts" in facts.get("spec", {}).get("columns", {})
    named = [dataset_of_file(str(file.get("name", ""))) for file in source.get("files", [])]
    return any(
        dataset is not None
        and (not dataset.terminals_end_episodes or (not has_timeouts and dataset.timeouts != "unknown"))
        for dataset in named
    )


_TERMINALS_OF_RECORDINGS = "its terminals may be ends of recordings and not of the task"
_ENDS_BY_TIME = "episodes that ended by time may not be cut there"


def _has_overlapping_checkpoints(facts: Facts, source: Facts) -> bool:
    counts = [(one["capacity"], one["add_count"]) for one in source.get("checkpoints", ())]
    return any(
        capacity == other and 0 < before <= after < before + capacity
        for (capacity, before), (other, after) in itertools.pairwise(counts)
    )


MENDS = (
    Mend("npz", 2, _has_masks, _TERMINALS_OF_RECORDINGS),
    Mend("d4rl", 2, _has_masks, _TERMINALS_OF_RECORDINGS),
    Mend("d4rl", 2, _is_named_by_its_id, "its episodes are not cut as those of that dataset are"),
    Mend("npz", 2, _has_other_ends, _ENDS_BY_TIME),
    Mend("d4rl", 2, _has_other_ends, _ENDS_BY_TIME),
    Mend("dopamine", 2, _has_overlapping_checkpoints, "it has rows that several checkpoints hold several times"),
    Mend("rl-unplugged", 2, _is_atari_episodes, "its rewards stand one row too early"),
    Mend(
        "tfds",
        2,
        _is_rlu_atari,
        "its rewards stand one row too early, and the last transition of each episode is missing",
    ),
)


def source_facts(format_name: str, /, **facts: Any) -> dict[str, Any]:
    """Return ``source`` for the metadata: the format, the version of its reader, and more facts.

    Parameters
    ----------
    format_name : str
        A key of `rlbuffers.sources.SOURCES`, or the name of another origin.
    **facts
        What else is known: ``files``, ``name``, ...
    """
    version = max((mend.version for mend in MENDS if mend.format == format_name), default=1)
    return {**facts, "format": format_name, **({"reader_version": version} if version > 1 else {})}


def faults_of(metadata: Facts) -> list[str]:
    """Say what is wrong with a buffer that an older reader made, a sentence each.

    Parameters
    ----------
    metadata : mapping
        Of the buffer.
    """
    found = dict.fromkeys(
        mend.fault
        for facts, source in _origins(metadata, metadata.get("source", {}))
        for mend in MENDS
        if mend.format == source.get("format")
        and source.get("reader_version", 1) < mend.version
        and mend.concerns(facts, source)
    )
    return [
        f"This buffer was converted by an earlier version, and {fault}. Convert the source again; "
        "what was learned from it is wrong."
        for fault in found
    ]


def warnings_of(metadata: Facts) -> list[str]:
    """Return what a user must know of a buffer: faults of the converting version, what its source said, odd values.

    Parameters
    ----------
    metadata : mapping
        Of the buffer.
    """
    return [*faults_of(metadata), *map(str, metadata.get("warnings") or ()), *content_warnings(metadata)]


def _origins(facts: Facts, source: Facts) -> Iterator[tuple[Facts, Facts]]:
    """Yield the facts and the source of a buffer, or of each of its parts, however deep."""
    parts = source.get("parts")
    exported = source.get(EXPORTED_FROM)
    origin = exported.get("source") if isinstance(exported, dict) else None
    if isinstance(origin, dict):  # what was wrong with a buffer that was exported still is
        yield from _origins(facts, origin)
    if not parts:
        yield facts, source
        return
    for part in parts:
        yield from _origins({**facts, **part}, part)
