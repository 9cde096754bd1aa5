"""What the golden buffers of ``tests/golden`` hold, by formula: values follow from the name of an array and the place.

Changing anything here would ask other content of files that are never written again. New cases may be added.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode

Array = np.ndarray[Any, Any]
CONTAINERS = (".hdf5", ".zarr", ".zarr.zip")
_METADATA = {
    "environment": {"id": "Golden-v0", "reference_scores": {"min": -1.5, "max": 1e3}, "can_terminate": True},
    "behavior_policy": {"name": "formula", "epsilon": 0.25},
    "source": {"format": "formula", "files": [{"name": "é.bin", "bytes": 2**40, "sha256": "0" * 64}]},
    "scalars": {"a": {"dtype": "int32", "value": -1}, "b": {"dtype": "str", "value": "two\nlines"}},
    "notes": ["Text beyond ASCII: naïve, 深い, 🎲."],
    "license": "MIT",
    "citation": "@misc{golden}",
}
_FLAGS = [ColumnSpec("rewards", np.float32), ColumnSpec("terminals", np.bool_), ColumnSpec("timeouts", np.bool_)]


@dataclass(frozen=True)
class Golden:
    """One content.

    Attributes
    ----------
    spec : BufferSpec
        Its columns.
    pieces : list
        What is appended.
    rows : dict
        Every column that a buffer shows, row by row; a next observation that is not known is left out of `known_next`.
    known_next : (N,) bool array
        Where the next observation is known.
    extras, episodes : dict
        Arrays of the whole buffer, and of its episodes.
    metadata : dict
        The facts that are told.
    """

    spec: BufferSpec
    pieces: list[Any]
    rows: dict[str, Array]
    known_next: Array
    extras: dict[str, Array] = field(default_factory=dict)
    episodes: dict[str, Array] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=lambda: dict(_METADATA))


def values(name: str, dtype: Any, shape: tuple[int, ...]) -> Array:
    """Return numbers that differ from place to place and are exact in every float dtype."""
    counted = np.arange(np.prod(shape, dtype=np.int64), dtype=np.uint64) + np.uint64(zlib.crc32(name.encode()))
    mixed = (counted * np.uint64(2654435761) & np.uint64(0xFFFFFFFF)) >> np.uint64(7)
    kind = np.dtype(dtype)
    if kind == np.bool_:
        drawn = mixed % np.uint64(2) == 1
    elif kind.kind == "f":
        drawn = (mixed % np.uint64(2001)).astype(np.float64) / 8 - 125
    else:
        drawn = mixed
    return drawn.astype(kind).reshape(shape)


def vectors_in_episodes() -> Golden:
    """Nested observations of several dtypes, unknown last observations, episode columns, extras and scalars."""
    observed = {
        "observations/pose": (np.float32, (3,)),
        "observations/touch/left": (np.float64, ()),
        "observations/touch/map": (np.uint8, (2, 3)),
    }
    lengths, known, whole = (5, 1, 300, 7), (True, False, True, False), (True, True, False, True)
    spec = BufferSpec(
        "episodes",
        [
            *(ColumnSpec(name, dtype, shape) for name, (dtype, shape) in observed.items()),
            ColumnSpec("actions", np.int64, (), {"type": "discrete", "n": 7, "start": 2}),
            *_FLAGS,
            ColumnSpec("infos/half", np.float16, (2,)),
            ColumnSpec("infos/small", np.int8, (1, 2)),
            ColumnSpec("infos/large", np.uint64),
        ],
        episode_columns=[ColumnSpec("seeds", np.int64), ColumnSpec("goals", np.float32, (2,))],
        extras=[ColumnSpec("weights", np.float32, (4, 3)), ColumnSpec("empty", np.uint16)],
    )
    tables, pieces = [], []
    for number, length in enumerate(lengths):
        columns = _columns(spec, f"episode {number}", length, last_terminal=number % 2 == 0)
        seen = {
            name: values(f"{number}/{name}", dtype, (length + 1, *shape)) for name, (dtype, shape) in observed.items()
        }
        shown = {name: rows[:-1] for name, rows in seen.items()}
        following = {f"next_{name}": rows[1:] for name, rows in seen.items()}
        tables.append({**columns, **shown, **following})
        facts = {"seeds": number * 7 - 3, "goals": values(f"goal {number}", np.float32, (2,))}
        given = seen if known[number] else shown
        pieces.append(Episode(columns, given, facts, whole[number]))
    episodes = {
        "lengths": np.array(lengths),
        "whole": np.array(whole),
        "final_known": np.array(known),
        "seeds": np.array([piece.facts["seeds"] for piece in pieces]),
        "goals": np.stack([piece.facts["goals"] for piece in pieces]),
    }
    extras = {"weights": values("weights", np.float32, (2, 4, 3)), "empty": np.empty(0, np.uint16)}
    return Golden(spec, pieces, _joined(tables), _known(lengths, known), extras, episodes)


def frames_in_episodes() -> Golden:
    """Stacks of four frames, each frame stored once; the last episode lacks its last frame."""
    lengths, known = (30, 2, 11), (True, True, False)
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations", np.uint8, (4, 6, 5)),
            ColumnSpec("actions", np.int32, (), {"type": "discrete", "n": 4}),
            *_FLAGS,
        ],
        stack=4,
    )
    tables, pieces = [], []
    for number, length in enumerate(lengths):
        columns = _columns(spec, f"episode {number}", length, last_terminal=number == 0)
        frames = values(f"frames {number}", np.uint8, (length + 4, 6, 5))
        stacks = np.stack([frames[row : row + 4] for row in range(length + 1)])
        tables.append({**columns, "observations": stacks[:-1], "next_observations": stacks[1:]})
        pieces.append(Episode(columns, {"frames": frames if known[number] else frames[:-1]}))
    episodes = {"lengths": np.array(lengths), "whole": np.ones(3, bool), "final_known": np.array(known)}
    return Golden(spec, pieces, _joined(tables), _known(lengths, known), episodes=episodes)


def shuffled_frames() -> Golden:
    """Shuffled transitions of stacks, of which some do not overlap (overrides); more than 1,024 chunks."""
    count, apart = 1030, np.array([0, 17, 1029])
    spec = BufferSpec(
        "transitions",
        [
            ColumnSpec("observations", np.uint8, (4, 3, 2)),
            ColumnSpec("next_observations", np.uint8, (4, 3, 2)),
            ColumnSpec("actions", np.int64, (), {"type": "discrete", "n": 4}),
            *_FLAGS[:2],
        ],
        stack=4,
        order="shuffled",
    )
    windows = values("windows", np.uint8, (count, 5, 3, 2))
    rows = {
        **_columns(spec, "rows", count),
        "observations": windows[:, :-1].copy(),
        "next_observations": windows[:, 1:].copy(),
    }
    rows["next_observations"][apart] = values("apart", np.uint8, (3, 4, 3, 2))
    return Golden(spec, [rows], rows, np.ones(count, bool))


def ordered_vectors() -> Golden:
    """Transitions in the order of time, whose next observations are stored, of continuous actions in a box."""
    count = 700
    box = {"type": "box", "low": [-1.0, None], "high": [1.0, 2.5]}
    spec = BufferSpec(
        "transitions",
        [
            ColumnSpec("observations", np.float32, (3,)),
            ColumnSpec("next_observations", np.float32, (3,)),
            ColumnSpec("actions", np.float32, (2,), box),
            *_FLAGS,
            ColumnSpec("discounts", np.float32),
        ],
        order="time",
    )
    rows = {
        **_columns(spec, "rows", count),
        "observations": values("observations", np.float32, (count, 3)),
        "next_observations": values("next", np.float32, (count, 3)),
        "actions": values("actions", np.float32, (count, 2)) / 128,
    }
    pieces = [{name: column[:300] for name, column in rows.items()}]
    pieces.append({name: column[300:] for name, column in rows.items()})
    return Golden(spec, pieces, rows, np.ones(count, bool))


CONTENTS: dict[str, Callable[[], Golden]] = {
    "vectors_in_episodes": vectors_in_episodes,
    "frames_in_episodes": frames_in_episodes,
    "shuffled_frames": shuffled_frames,
    "ordered_vectors": ordered_vectors,
}


def write(content: Golden, path: Path) -> None:
    """Write a content to a new buffer."""
    with rlbuffers.create(path, content.spec, content.metadata) as writer:
        for name, rows in content.extras.items():
            writer.append_extra(name, rows)
        for piece in content.pieces:
            if isinstance(piece, Episode):
                writer.append_episode(piece)
            else:
                writer.append_transitions(piece)


def _columns(spec: BufferSpec, of: str, length: int, *, last_terminal: bool | None = None) -> dict[str, Array]:
    """Return the columns that are no observations; flags of an episode stand in its last row alone."""
    columns = {
        name: values(f"{of}/{name}", column.dtype, (length, *column.shape))
        for name, column in spec.columns.items()
        if not name.startswith(("observations", "next_observations"))
    }
    space = spec.columns["actions"].space or {}
    if space.get("type") == "discrete":
        columns["actions"] = columns["actions"] % space["n"] + space.get("start", 0)
        columns["actions"] = columns["actions"].astype(spec.columns["actions"].dtype)
    if last_terminal is not None:
        last = np.arange(length) == length - 1
        columns["terminals"], columns["timeouts"] = last & last_terminal, last & (not last_terminal)
    elif "timeouts" in columns:
        columns["timeouts"] &= ~columns["terminals"]
    return columns


def _known(lengths: tuple[int, ...], known: tuple[bool, ...]) -> Array:
    return np.concatenate([np.arange(n) < n - (not is_known) for n, is_known in zip(lengths, known, strict=True)])


def _joined(tables: list[dict[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
