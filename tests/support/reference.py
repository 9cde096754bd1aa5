"""Small buffers with known content: what is written, and the table that must be read back.

A `Recipe` is plain data, so Hypothesis can draw and shrink it; `make` fills it with random numbers and
works out the expected table one row at a time, in loops that are meant to be obvious.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode
from rlbuffers.schema import FRAMES, NEXT_OBSERVATIONS, OBSERVATIONS, next_name

Array = np.ndarray[Any, Any]
STORES = ("hdf5", "zarr", "memory")
DTYPES = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
FLOATS = ("float16", "float32", "float64")
_PLAIN_COLUMNS = (
    ColumnSpec("actions", np.int64, (), {"type": "discrete", "n": 6}),
    ColumnSpec("rewards", np.float32),
    ColumnSpec("terminals", np.bool_),
    ColumnSpec("timeouts", np.bool_),
)


@dataclass(frozen=True)
class Recipe:
    """What a test buffer is like.

    `lengths` are those of the episodes, or in the transitions layout of the batches that are appended.
    With `stack`, observations are images of `size`; otherwise `observations` lists (name, dtype, shape).
    """

    layout: str
    lengths: tuple[int, ...]
    stack: int = 0
    size: tuple[int, int] = (3, 4)
    observations: tuple[tuple[str, str, tuple[int, ...]], ...] = ((OBSERVATIONS, "float32", (3,)),)
    extra: tuple[tuple[str, str, tuple[int, ...]], ...] = ()
    apart: float = 0.0  # share of transitions whose next stack does not overlap
    seed: int = 0


@dataclass
class Made:
    """A recipe's content: the pieces to append and the table that they make."""

    spec: BufferSpec
    pieces: list[Episode | dict[str, Array]]
    table: dict[str, Array]
    bounds: list[tuple[int, int]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.table["rewards"])


def random_rows(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> Array:
    """Return values from all over the dtype's range, none of them NaN."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.normal(size=shape).astype(kind)
    if kind.kind == "b":
        return rng.integers(0, 2, size=shape).astype(kind)
    limits = np.iinfo(kind)
    return rng.integers(limits.min, limits.max, size=shape, dtype=kind, endpoint=True)


def plain_columns(rng: np.random.Generator, count: int) -> dict[str, Array]:
    """Return the columns that every test buffer has; the last row is terminal."""
    ends = np.arange(count) == count - 1
    return {
        "actions": rng.integers(0, 6, count),
        "rewards": rng.normal(size=count).astype(np.float32),
        "terminals": ends,
        "timeouts": np.zeros(count, bool),
    }


def make(recipe: Recipe) -> Made:
    """Fill a recipe with numbers."""
    rng = np.random.default_rng(recipe.seed)
    if recipe.layout == "episodes":
        return _make_stacked_episodes(recipe, rng) if recipe.stack else _make_episodes(recipe, rng)
    return _make_stacked_transitions(recipe, rng) if recipe.stack else _make_transitions(recipe, rng)


def _columns(recipe: Recipe, rng: np.random.Generator, count: int) -> dict[str, Array]:
    extra = {name: random_rows(rng, dtype, (count, *shape)) for name, dtype, shape in recipe.extra}
    return {**plain_columns(rng, count), **extra}


def _spec(recipe: Recipe, observed: Sequence[ColumnSpec]) -> BufferSpec:
    following = [ColumnSpec(next_name(column.name), column.dtype, column.shape) for column in observed]
    return BufferSpec(
        layout=recipe.layout,
        columns=[
            *observed,
            *(following if recipe.layout == "transitions" else []),
            *_PLAIN_COLUMNS,
            *(ColumnSpec(name, np.dtype(dtype), shape) for name, dtype, shape in recipe.extra),
        ],
        stack=recipe.stack,
    )


def _vector_spec(recipe: Recipe) -> BufferSpec:
    return _spec(recipe, [ColumnSpec(name, np.dtype(dtype), shape) for name, dtype, shape in recipe.observations])


def _stacked_spec(recipe: Recipe) -> BufferSpec:
    return _spec(recipe, [ColumnSpec(OBSERVATIONS, np.dtype(np.uint8), (recipe.stack, *recipe.size))])


def _table(rows: list[dict[str, Array]]) -> dict[str, Array]:
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _make_episodes(recipe: Recipe, rng: np.random.Generator) -> Made:
    pieces, rows, bounds = [], [], []
    for length in recipe.lengths:
        columns = _columns(recipe, rng, length)
        observed = {name: random_rows(rng, dtype, (length + 1, *shape)) for name, dtype, shape in recipe.observations}
        pieces.append(Episode(columns, observed))
        bounds.append((len(rows), len(rows) + length))
        for t in range(length):
            row = {name: values[t] for name, values in columns.items()}
            for name, values in observed.items():
                row[name], row[next_name(name)] = values[t], values[t + 1]
            rows.append(row)
    return Made(_vector_spec(recipe), pieces, _table(rows), bounds)


def _make_stacked_episodes(recipe: Recipe, rng: np.random.Generator) -> Made:
    pieces, rows, bounds = [], [], []
    for length in recipe.lengths:
        columns = _columns(recipe, rng, length)
        frames = random_rows(rng, "uint8", (length + recipe.stack, *recipe.size))
        pieces.append(Episode(columns, {FRAMES: frames}))
        bounds.append((len(rows), len(rows) + length))
        for t in range(length):
            row = {name: values[t] for name, values in columns.items()}
            row[OBSERVATIONS] = np.stack([frames[t + k] for k in range(recipe.stack)])
            row[NEXT_OBSERVATIONS] = np.stack([frames[t + 1 + k] for k in range(recipe.stack)])
            rows.append(row)
    return Made(_stacked_spec(recipe), pieces, _table(rows), bounds)


def _make_transitions(recipe: Recipe, rng: np.random.Generator) -> Made:
    pieces = []
    for length in recipe.lengths:
        columns = _columns(recipe, rng, length)
        for name, dtype, shape in recipe.observations:
            columns[name] = random_rows(rng, dtype, (length, *shape))
            columns[next_name(name)] = random_rows(rng, dtype, (length, *shape))
        pieces.append(columns)
    return Made(_vector_spec(recipe), pieces, _joined(pieces))


def _make_stacked_transitions(recipe: Recipe, rng: np.random.Generator) -> Made:
    pieces = []
    for length in recipe.lengths:
        columns = _columns(recipe, rng, length)
        frames = random_rows(rng, "uint8", (length, recipe.stack + 1, *recipe.size))
        columns[OBSERVATIONS], columns[NEXT_OBSERVATIONS] = frames[:, :-1], frames[:, 1:].copy()
        for row in np.flatnonzero(rng.random(length) < recipe.apart):
            columns[NEXT_OBSERVATIONS][row] = random_rows(rng, "uint8", (recipe.stack, *recipe.size))
        pieces.append(columns)
    return Made(_stacked_spec(recipe), pieces, _joined(pieces))


def _joined(pieces: Sequence[dict[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def write(path: Path, made: Made, metadata: dict[str, Any] | None = None) -> Path:
    """Write a buffer at `path`, one append for each piece."""
    with rlbuffers.create(path, made.spec, metadata) as writer:
        for piece in made.pieces:
            if isinstance(piece, Episode):
                writer.append_episode(piece)
            else:
                writer.append_transitions(piece)
    return path


def assert_same_rows(found: dict[str, Array], expected: dict[str, Array]) -> None:
    """Compare two tables: names, dtypes and values."""
    assert sorted(found) == sorted(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype, name
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def taken(table: dict[str, Array], rows: Any) -> dict[str, Array]:
    """Return rows of a table by numpy indexing."""
    return {name: values[rows] for name, values in table.items()}


# Strategies. Rows of one number, of a vector, of a small matrix, and one so large that few fill a chunk.
_SHAPES = st.sampled_from([(), (1,), (3,), (2, 3), (1, 1, 1), (4096,)])
_DTYPES = st.sampled_from(DTYPES + FLOATS)
_SIZES = st.tuples(st.integers(1, 5), st.integers(1, 5))
# Short ones, and those around the 12 frames of a chunk and the 256 rows of a block.
_EDGES = st.sampled_from([1, 1, 2, 3, 5, 8, 11, 12, 13, 40, 255, 256, 257])
_LENGTHS = st.lists(_EDGES, min_size=1, max_size=5).map(tuple)
_SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Draw any kind of buffer."""
    names = draw(st.sampled_from([(OBSERVATIONS,), (f"{OBSERVATIONS}/position", f"{OBSERVATIONS}/touch/left")]))
    extra = draw(st.lists(st.sampled_from(["infos/qpos", "discounts", "infos/deep/er", "é"]), unique=True, max_size=2))
    return Recipe(
        layout=draw(st.sampled_from(["episodes", "transitions"])),
        lengths=draw(_LENGTHS),
        stack=draw(st.sampled_from([0, 0, 1, 2, 3, 4])),
        size=draw(_SIZES),
        observations=tuple((name, draw(_DTYPES), draw(_SHAPES)) for name in names),
        extra=tuple((name, draw(_DTYPES), draw(_SHAPES)) for name in extra),
        apart=draw(st.sampled_from([0.0, 0.0, 0.1, 1.0])),
        seed=draw(_SEEDS),
    )
