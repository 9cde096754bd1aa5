from __future__ import annotations

import hashlib

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from reference import DTYPES, FLOATS, random_rows

from rlbuffers.fingerprint import ArrayDigest, block_digests, fingerprint_of


@given(
    dtype=st.sampled_from(DTYPES + FLOATS),
    shape=st.sampled_from([(), (3,), (2, 2)]),
    count=st.sampled_from([0, 1, 255, 256, 257, 600]),
    seed=st.integers(0, 99),
)
def test_digests_are_those_of_the_format_page(dtype, shape, count, seed):
    rows = random_rows(np.random.default_rng(seed), dtype, (count, *shape))
    little = rows.astype(rows.dtype.newbyteorder("<"))
    expected = [xxhash.xxh3_128(little[start : start + 256].tobytes()).digest() for start in range(0, count, 256)]
    assert block_digests(rows) == expected
    assert block_digests(np.asfortranarray(rows)) == expected
    assert block_digests(rows.astype(rows.dtype.newbyteorder(">"))) == expected
    digest = ArrayDigest()
    for block in expected:
        digest.update([block])
    assert digest.hexdigest() == hashlib.sha256(b"".join(expected)).hexdigest()


def test_the_fingerprint_is_the_one_of_the_format_page():
    text = '[["actions","int64",[3],"a"],["rewards","float32",[3,2],"b"]]'
    arrays = [("rewards", "float32", (3, 2), "b"), ("actions", "int64", (3,), "a")]
    assert fingerprint_of(arrays) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("change", [("x", "int64", (3,), "a"), ("a", "int32", (3,), "a"), ("a", "int64", (4,), "a")])
def test_names_dtypes_and_shapes_count(change):
    assert fingerprint_of([change]) != fingerprint_of([("a", "int64", (3,), "a")])
