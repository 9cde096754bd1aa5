"""Histograms in blocks equal those of all rows at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlbuffers.report.histograms import column_histograms, histogram, nice_edges, scan


def cut(rows, size):
    return lambda: [rows[start : start + size] for start in range(0, len(rows), size)]


@given(
    st.lists(st.floats(width=32), min_size=1, max_size=200),
    st.integers(1, 50),
    st.sampled_from([np.float32, np.float64]),
)
def test_every_value_is_counted_once_and_in_its_place(values, block, dtype):
    rows = np.array(values, dtype)
    found = histogram(cut(rows, block))
    finite = rows[np.isfinite(rows)].astype(np.float64)
    assert found.not_finite == len(rows) - len(finite)
    if found.values is not None:
        assert dict(zip(found.values.tolist(), found.counts.tolist(), strict=True)) == {
            value: int((finite == value).sum()) for value in sorted({float(value) for value in finite})
        }
    else:
        assert found.counts.sum() == len(finite)
        if len(finite):
            assert found.edges[0] <= finite.min()
            assert found.edges[-1] >= finite.max()


@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.integers(1, 5), st.integers(1, 90))
def test_elements_are_counted_as_numpy_counts_all_rows(seed, count, size, block):
    rows = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    low, high = rows.min(axis=0).astype(float), rows.max(axis=0).astype(float)
    for at, found in enumerate(column_histograms(cut(rows, block)(), low, high, 12)):
        bounds = (low[at], high[at]) if low[at] < high[at] else (low[at] - 0.5, low[at] + 0.5)
        expected, edges = np.histogram(rows[:, at], bins=12, range=bounds)
        np.testing.assert_array_equal(found.counts, expected)
        np.testing.assert_allclose(found.edges, edges)


def test_few_whole_values_get_bars_of_their_own_and_many_get_bins():
    assert histogram(cut(np.array([-1.0, 0.0, 0.0, 1.0]), 2)).values.tolist() == [-1.0, 0.0, 1.0]
    assert histogram(cut(np.array([0.25, 0.5, 0.75]), 2)).values is None
    assert histogram(cut(np.repeat([0.25, 0.5], 100), 7)).values.tolist() == [0.25, 0.5]
    assert histogram(cut(np.array([50, 5000]), 2)).values is None
    assert histogram(cut(np.arange(100), 30)).values is None


def test_no_rows_and_nothing_finite():
    assert scan([]) is None
    assert histogram(list) is None
    found = histogram(cut(np.array([np.nan, np.inf]), 1))
    assert (found.counts.sum(), found.not_finite) == (0, 2)


@pytest.mark.parametrize(
    ("low", "high", "step"),
    [(0, 1, 0.025), (-20, 21, 2), (161, 500, 10), (3, 3, 0.025), (1e9, 1e9 + 40, 1), (0, 1e-9, 2.5e-11)],
)
def test_edges_are_round_and_enclose_the_values(low, high, step):
    edges = nice_edges(low, high, 40)
    assert edges[0] <= low
    assert edges[-1] >= high
    np.testing.assert_allclose(np.diff(edges), step, rtol=1e-3)
    assert 10 <= len(edges) - 1 <= 42


def test_values_too_close_for_round_numbers():
    low = 1e16
    edges = nice_edges(low, np.nextafter(low, np.inf), 40)
    assert edges[0] <= low
    assert edges[-1] >= low
