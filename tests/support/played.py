"""Small recorded games that end in every way, and what samplers must make of them, worked out in loops.

No two observations are alike, so that a batch tells which rows it is made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode

Array = np.ndarray[Any, Any]
ENDS = ("terminal", "timeout", "both", "neither")


@dataclass(frozen=True)
class Game:
    """An episode: how long, how it ends, whether the last observation is known, where goals are passed."""

    length: int
    end: str
    known: bool = True
    goals: tuple[int, ...] = ()


@dataclass
class Played:
    """Rows of all games, one entry a row."""

    observations: Array
    next_observations: Array
    actions: Array
    rewards: Array
    terminals: Array
    timeouts: Array
    games: Array
    last: Array  # whether the row ends its game
    known: Array  # whether the next observation is

    def __len__(self) -> int:
        return len(self.rewards)

    def is_usable(self, row: int) -> bool:
        return bool(self.terminals[row] or self.known[row])

    def usable(self) -> list[int]:
        return [row for row in range(len(self)) if self.is_usable(row)]

    def steps_from(self, row: int, most: int) -> list[int]:
        """Rows from `row` on until the task ends, `most` at most."""
        steps = [row]
        while len(steps) < most and not self.last[steps[-1]] and not self.terminals[steps[-1]]:
            steps.append(steps[-1] + 1)
        return steps

    def return_to_go(self, row: int, discount: float) -> float:
        return sum(discount**k * float(self.rewards[step]) for k, step in enumerate(self.steps_from(row, len(self))))

    def row_of(self, observations: Array) -> Array:
        """Return the rows that observations belong to, -1 for zeros; they must be equal in every number."""
        rows = np.full(int(_numbers(self.observations).max()) + 1, -1)
        rows[_numbers(self.observations)] = np.arange(len(self))
        found: Array = rows[_numbers(observations)]
        wanted = self.observations[found]
        wanted[found < 0] = 0
        np.testing.assert_array_equal(observations, wanted)
        return found


def _numbers(observations: Array) -> Array:
    """Return the number that is written into each observation; 0 for zeros."""
    if observations.dtype == np.uint8:
        newest = observations[..., -1, 0, :].astype(int)
        return np.where(newest.any(axis=-1), newest[..., 0] - 1 + 251 * newest[..., 1], 0)
    return observations[..., 0].astype(int)


def play(games: list[Game], path: Path, *, stack: int = 0, seed: int = 0) -> Played:
    """Write a buffer and return its rows."""
    rng = np.random.default_rng(seed)
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations", np.uint8 if stack else np.float32, (stack, 1, 2) if stack else (2,)),
            ColumnSpec("actions", np.int64, (), {"type": "discrete", "n": 3}),
            ColumnSpec("rewards", np.float64),
            ColumnSpec("terminals", np.bool_),
            ColumnSpec("timeouts", np.bool_),
        ],
        stack=stack,
    )
    number = 0
    rows: list[list[Array]] = [[] for _ in range(9)]
    with rlbuffers.create(path, spec) as writer:
        for index, game in enumerate(games):
            at = np.arange(game.length)
            last = at == game.length - 1
            numbers = number + 1 + np.arange(game.length + 1)
            number += game.length + 1
            if stack:
                frames = np.stack([numbers % 251 + 1, numbers // 251], axis=-1)[:, None].astype(np.uint8)
                frames = np.concatenate([np.repeat(frames[:1], stack - 1, axis=0), frames])
                stored = {"frames": frames if game.known else frames[:-1]}
                shown = frames if game.known else np.concatenate([frames[:-1], np.zeros_like(frames[:1])])
                observed = np.stack([shown[t : t + stack] for t in range(game.length + 1)])
            else:
                vectors = np.stack([numbers, -numbers], axis=-1).astype(np.float32)
                stored = {"observations": vectors if game.known else vectors[:-1]}
                observed = vectors * (np.arange(game.length + 1) < game.length + game.known)[:, None]
            columns = {
                "actions": rng.integers(0, 3, game.length),
                "rewards": rng.normal(size=game.length),
                "terminals": last & (game.end in ("terminal", "both")) | np.isin(at, game.goals),
                "timeouts": last & (game.end in ("timeout", "both")),
            }
            writer.append_episode(Episode(columns, stored, whole=game.end != "neither"))
            made = (
                observed[:-1],
                observed[1:],
                *columns.values(),
                np.full(game.length, index),
                last,
                ~last | game.known,
            )
            for values, column in zip(made, rows, strict=True):
                column.append(values)
    return Played(*(np.concatenate(column) for column in rows))


def games() -> st.SearchStrategy[list[Game]]:
    """Draw games of up to 7 steps that end in every way; at least one row of one is usable."""
    one = st.builds(
        Game,
        st.integers(1, 7),
        st.sampled_from(ENDS),
        st.booleans(),
        st.lists(st.integers(0, 6), max_size=2).map(tuple),
    )
    return st.lists(one, min_size=1, max_size=6).map(lambda drawn: [*drawn, Game(3, "timeout")])
