from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import DTYPES, FLOATS, Recipe, make

from rlbuffers.fingerprint import BLOCK_ROWS
from rlbuffers.schema import stored_arrays
from rlbuffers.stores.chunking import chunk_rows


@given(
    dtype=st.sampled_from(DTYPES + FLOATS),
    shape=st.lists(st.integers(1, 300), max_size=3).map(tuple),
)
def test_chunks_and_blocks_fit_into_each_other(dtype, shape):
    spec = make(Recipe("episodes", (1,), observations=(("observations", dtype, shape),))).spec
    for array in stored_arrays(spec).values():
        rows = chunk_rows(array, spec)
        assert rows >= 1
        assert rows % BLOCK_ROWS == 0 or BLOCK_ROWS % rows == 0
        assert rows == 1 or rows * array.row_bytes <= 256 * 1024


@pytest.mark.parametrize("stack", [1, 2, 3, 4, 7])
def test_an_independent_transition_of_frames_is_one_chunk(stack):
    spec = make(Recipe("transitions", (1,), stack=stack)).spec
    rows = chunk_rows(stored_arrays(spec)["frames"], spec)
    assert rows == stack + 1
    assert math.lcm(rows, BLOCK_ROWS) % rows == 0
