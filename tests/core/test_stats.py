from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlbuffers.stats import ColumnStatistics, quantiles, total_reward

COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=6)


def fed(pieces):
    statistics = ColumnStatistics()
    for piece in pieces:
        statistics.update(piece)
    return statistics.to_json()


def numbers(seed, count, shape, dtype):
    values = np.random.default_rng(seed).normal(5, 100, (count, *shape))
    return values.astype(dtype)


@given(
    counts=COUNTS,
    shape=st.sampled_from([(), (3,), (2, 2)]),
    dtype=st.sampled_from(["float16", "float32", "float64", "int8", "int64", "uint8"]),
    seed=st.integers(0, 1000),
)
def test_pieces_of_any_size_give_what_numpy_gives(counts, shape, dtype, seed):
    rows = numbers(seed, sum(counts), shape, dtype)
    found = fed(np.split(rows, np.cumsum(counts)))
    if not len(rows):
        assert found == {}
        return
    assert sorted(found) == ["max", "mean", "min", "std"]
    wide = rows.astype(np.float64)
    np.testing.assert_array_equal(found["min"], wide.min(axis=0))
    np.testing.assert_array_equal(found["max"], wide.max(axis=0))
    np.testing.assert_allclose(found["mean"], wide.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found["std"], wide.std(axis=0), rtol=1e-9, atol=1e-9)


def test_a_large_mean_does_not_hide_a_small_spread():
    rows = 1e8 + np.array([0.0, 1.0, 2.0, 3.0] * 100)
    assert fed([rows[:130], rows[130:]])["std"] == pytest.approx(np.std([0, 1, 2, 3]), rel=1e-6)


def test_values_that_are_not_finite_are_counted_and_left_out():
    rows = np.array([[1.0, np.nan], [np.inf, np.nan], [3.0, -np.inf], [5.0, np.nan]])
    found = fed([rows[:1], rows[1:3], rows[3:]])
    assert found["not_finite"] == 5
    assert found["mean"][0] == 3.0
    assert found["min"] == [1.0, None]
    assert found["max"] == [5.0, None]
    assert found["std"][0] == pytest.approx(np.std([1, 3, 5]))
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("large", [1e200, 1.7e308])
def test_numbers_too_large_to_square_become_null(large):
    found = fed([np.array([large, -large]), np.array([large, large])])
    assert found["min"] == -large
    assert found["max"] == large
    assert found["std"] is None
    json.dumps(found, allow_nan=False)


def test_quantiles_are_those_of_numpy():
    values = np.array([3, 1, 2, 10])
    assert quantiles(values) == {
        "min": 1.0,
        "q25": 1.75,
        "median": 2.5,
        "q75": 4.75,
        "max": 10.0,
        "mean": 4.0,
        "std": pytest.approx(np.std(values)),
    }


def test_quantiles_too_large_to_square_are_null():
    found = quantiles(np.array([1e200, -1e200, 1.7e308]))
    assert (found["min"], found["max"], found["std"]) == (-1e200, 1.7e308, None)
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("rewards", "total"),
    [([], 0.0), ([1, 2, 3], 6.0), (np.full(10**6, 0.1, np.float32), 100000.0014901161), ([np.inf, 1], np.inf)],
)
def test_rewards_are_summed_in_double_precision(rewards, total):
    assert total_reward(np.array(rewards)) == pytest.approx(total, rel=1e-12)


def test_sums_that_have_no_value_are_nan():
    assert np.isnan(total_reward(np.array([np.inf, -np.inf], np.float32)))
