"""Columns in memory: one call for all of them gives what reading each alone gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import STORES, Recipe, assert_same_rows, make, recipes, taken, write
from threads import at_once

import rlbuffers
from rlbuffers.errors import OutOfRangeError
from rlbuffers.reading import gathering
from rlbuffers.stores.native import DECODER_VARIABLE

VECTORS = Recipe("episodes", (5, 1, 7, 30), observations=(("observations", "float32", (17,)),))


@pytest.fixture(autouse=True)
def compiled(monkeypatch):
    monkeypatch.setenv(DECODER_VARIABLE, "native")


def in_memory(path):
    """Return a buffer that has been read as a whole: what fits is kept decoded."""
    buffer = rlbuffers.open(path)
    buffer.rows(np.arange(len(buffer)))
    return buffer


@pytest.mark.parametrize("store", STORES)
@given(recipe=recipes(), seed=st.integers(0, 99), size=st.integers(0, 40))
def test_the_same_rows(new_path, store, recipe, seed, size):
    made = make(recipe)
    with in_memory(write(new_path(store), made)) as buffer:
        rows = np.random.default_rng(seed).integers(len(made), size=size)
        for columns in (None, list(made.table)[::-1], list(made.table)[:1]):
            batch = buffer.rows(rows, columns)
            assert list(batch) == (columns or list(buffer.spec.batch_names))
            assert_same_rows(batch, {name: values for name, values in taken(made.table, rows).items() if name in batch})


def test_episodes_are_found_without_a_table(new_path, monkeypatch):
    monkeypatch.setattr("rlbuffers.reading.batch_columns._MAX_TABLED_ROWS", 3)
    made = make(VECTORS)
    with in_memory(write(new_path("hdf5"), made)) as buffer:
        assert_same_rows(buffer.rows(np.arange(len(made))), made.table)


@pytest.mark.parametrize("lengths", [(40,), (4000,)])  # new memory, and recycled memory
def test_batches_are_the_callers(new_path, lengths):
    made = make(Recipe("episodes", lengths, observations=VECTORS.observations))
    with in_memory(write(new_path("hdf5"), made)) as buffer:
        rows = np.arange(len(made))
        held = [buffer.rows(rows) for _ in range(12)]
        for batch in held[::2]:
            for values in batch.values():
                assert values.flags.writeable
                assert values.flags.c_contiguous
                values[...] = 0
        for batch in [*held[1::2], buffer.rows(rows)]:
            assert_same_rows(batch, made.table)


@pytest.mark.parametrize("row", [-1, 43, 1 << 40])
def test_no_memory_is_read_beyond_the_rows(new_path, row):
    with in_memory(write(new_path("hdf5"), make(VECTORS))) as buffer:
        assert len(buffer) == 43
        with pytest.raises(OutOfRangeError, match=f"there is no row {row}; there are 43"):
            buffer.take(np.array([0, row, 1]), ["rewards"])


def test_threads_may_ask_for_batches_of_different_sizes(new_path):
    made = make(VECTORS)
    wrong = []
    with in_memory(write(new_path("zarr"), made)) as buffer:

        def read(size):
            rows = np.random.default_rng(size).integers(len(made), size=size)
            expected = taken(made.table, rows)
            for _ in range(300):
                found = buffer.rows(rows)
                wrong.extend(name for name in found if not np.array_equal(found[name], expected[name]))

        at_once(read, (1, 5, 33, 200))
    assert not wrong


def test_the_loop_is_loaded_when_it_pays(monkeypatch):
    monkeypatch.setenv(DECODER_VARIABLE, "auto")
    monkeypatch.setattr(gathering, "_num_calls", 0)
    found = [gathering.compiled_gather() for _ in range(501)]
    assert found[:500] == [None] * 500
    assert found[500] is not None
    monkeypatch.setenv(DECODER_VARIABLE, "python")
    assert gathering.compiled_gather() is None
