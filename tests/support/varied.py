"""Buffers in which every episode is another case, and what is in them, episode by episode or row by row.

What is expected is kept as it was drawn, and what a buffer holds is read with the reader, so neither comes from
the code that makes buffers of buffers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from reference import Recipe, make, random_rows, recipes

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode
from rlbuffers.schema import FRAMES, is_observation

Array = np.ndarray[Any, Any]
FACTS = {
    "environment": {"id": "Maze-v0", "reference_scores": {"min": 0.0, "max": 10.0}},
    "behavior_policy": {"name": "random"},
    "source": {"format": "rows", "files": [{"name": "a", "bytes": 3}]},
    "license": "MIT",
    "scalars": {"a": {"dtype": "int32", "value": 1}},
}


@dataclass(frozen=True)
class Varied:
    """What a buffer of episodes is like; `flags` are (known, whole, terminal, timeout) of each episode."""

    lengths: tuple[int, ...]
    flags: tuple[tuple[bool, bool, bool, bool], ...]
    stack: int = 0
    nested: bool = False
    seed: int = 0


def write_varied(path: Path, varied: Varied, metadata: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Write the buffer, and return its episodes: each a dict of all that belongs to one."""
    rng = np.random.default_rng(varied.seed)
    names = ("observations/a", "observations/b/c") if varied.nested and not varied.stack else ("observations",)
    shape = (varied.stack, 2, 3) if varied.stack else (2,)
    spec = BufferSpec(
        "episodes",
        [
            *(ColumnSpec(name, np.uint8 if varied.stack else np.float32, shape) for name in names),
            ColumnSpec("actions", np.int64, (), {"type": "discrete", "n": 5}),
            ColumnSpec("rewards", np.float32),
            ColumnSpec("terminals", np.bool_),
            ColumnSpec("timeouts", np.bool_),
            ColumnSpec("infos/x", np.float64, (3,)),
        ],
        stack=varied.stack,
        episode_columns=[ColumnSpec("seeds", np.int64), ColumnSpec("goals", np.float32, (2,))],
        extras=[ColumnSpec("weights", np.float32, (2,))],
    )
    episodes = []
    with rlbuffers.create(path, spec, FACTS if metadata is None else metadata) as writer:
        for number, (length, (known, whole, terminal, timeout)) in enumerate(
            zip(varied.lengths, varied.flags, strict=True)
        ):
            last = np.arange(length) == length - 1
            columns = {
                "actions": rng.integers(0, 5, length),
                "rewards": rng.integers(-3, 4, length).astype(np.float32),
                "terminals": last & terminal,
                "timeouts": last & timeout,
                "infos/x": rng.normal(size=(length, 3)),
            }
            if varied.stack:
                observed = {FRAMES: random_rows(rng, "uint8", (length + varied.stack - 1 + known, 2, 3))}
            else:
                observed = {name: random_rows(rng, "float32", (length + known, 2)) for name in names}
            facts = {"seeds": number * 7, "goals": rng.normal(size=2).astype(np.float32)}
            writer.append_episode(Episode(columns, observed, facts, whole))
            episodes.append({**columns, **_shown(observed, length + known, varied.stack), **facts, "whole": whole})
        writer.append_extra("weights", np.arange(6, dtype=np.float32).reshape(3, 2))
    return episodes


def _shown(observed: dict[str, Array], count: int, stack: int) -> dict[str, Array]:
    """Return observations as a reader of an episode sees them: stacks are put together."""
    if not stack:
        return observed
    frames = observed[FRAMES]
    return {"observations": np.stack([frames[t : t + stack] for t in range(count)])}


def read_episodes(path: Path) -> list[dict[str, Any]]:
    """Read a buffer's episodes one at a time."""
    with rlbuffers.open(path) as buffer:
        return [
            {
                **buffer.episode(number),
                **{name: buffer.arrays[f"episodes/{name}"].all()[number] for name in buffer.spec.episode_columns},
                "whole": bool(buffer.arrays["episodes/whole"].all()[number]),
            }
            for number in range(buffer.num_episodes)
        ]


def cut(episode: dict[str, Any], length: int) -> dict[str, Any]:
    """Return what is left of an episode of which only the first steps are kept."""
    kept = {}
    for name, values in episode.items():
        per_step = isinstance(values, np.ndarray) and name not in ("seeds", "goals")
        kept[name] = values[: length + is_observation(name)] if per_step else values
    return {**kept, "whole": False} if length < len(episode["rewards"]) else episode


def assert_same_episodes(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Compare two lists of episodes, everything in them."""
    assert len(found) == len(expected)
    for number, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        assert sorted(ours) == sorted(theirs)
        for name in theirs:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=f"episode {number}, {name}")


def all_cases(lengths: tuple[int, ...] = (3, 1, 5, 2, 4, 1, 6, 2), **more: Any) -> Varied:
    """Return a buffer with every way of ending."""
    flags = [
        (known, whole, terminal, timeout)
        for known in (True, False)
        for whole in (True, False)
        for terminal, timeout in ((True, False), (False, True))
    ]
    return Varied(lengths, tuple(flags[number % len(flags)] for number in range(len(lengths))), **more)


_FLAGS = st.tuples(*[st.booleans()] * 4)
_LENGTHS = st.lists(st.sampled_from([1, 1, 2, 3, 11, 12, 13, 255, 256, 257]), min_size=1, max_size=6)


@st.composite
def varied_buffers(draw: st.DrawFn) -> Varied:
    """Draw any buffer of episodes."""
    lengths = draw(_LENGTHS)
    flags = draw(st.lists(_FLAGS, min_size=len(lengths), max_size=len(lengths)))
    return Varied(
        tuple(lengths),
        tuple(flags),
        stack=draw(st.sampled_from([0, 0, 1, 2, 4])),
        nested=draw(st.booleans()),
        seed=draw(st.integers(0, 2**32 - 1)),
    )


def transition_recipes() -> st.SearchStrategy[Recipe]:
    """Draw buffers of independent transitions."""
    return recipes().filter(lambda recipe: recipe.layout == "transitions")


def with_ids(path: Path, ids: list[int], *, returns: bool = False) -> dict[str, Array]:
    """Write independent transitions that say which episode they are of, and return the rows."""
    made = make(Recipe("transitions", (len(ids),)))
    more = {"episode_ids": np.array(ids, np.int64)}
    if returns:
        more["episode_returns"] = more["episode_ids"].astype(np.float32) * 10
    spec = BufferSpec(
        "transitions",
        [*made.spec.columns.values(), *(ColumnSpec(name, values.dtype) for name, values in more.items())],
        order="shuffled",
    )
    table = {**made.table, **more}
    with rlbuffers.create(path, spec) as writer:
        writer.append_transitions(table)
    return table
