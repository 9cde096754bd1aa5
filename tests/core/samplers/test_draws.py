"""What is drawn: exact where it must be, and by chi-square where it is random. Seeds are fixed.

The critical values are those of Wilson & Hilferty's cube, at one in 1,000.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlbuffers.errors import UsageError
from rlbuffers.samplers.blocks import BlockDraws
from rlbuffers.samplers.epochs import EpochDraws
from rlbuffers.samplers.permutation import Permutation
from rlbuffers.samplers.shares import divided
from rlbuffers.samplers.stratified import StratifiedDraws
from rlbuffers.samplers.uniform import UniformDraws
from rlbuffers.samplers.weighted import WeightedDraws
from rlbuffers.windows.cached_blocks import ShuffledBlocks
from rlbuffers.windows.items import FixedItems

NUM_BATCHES = 10_000


def items(count: int, left_out=()) -> FixedItems:
    return FixedItems("rows", count, np.array(left_out, np.int64))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def critical(degrees: int) -> float:
    """Chi-square that is exceeded once in 1,000 times."""
    return degrees * (1 - 2 / (9 * degrees) + 3.0902 * np.sqrt(2 / (9 * degrees))) ** 3


def chi_square(counts, expected) -> float:
    counts, expected = np.asarray(counts), np.asarray(expected)
    return float(((counts - expected) ** 2 / expected).sum())


def drawn(draws, batch_size: int, num_batches: int = NUM_BATCHES) -> np.ndarray:
    return np.concatenate([draws.draw(batch_size).items for _ in range(num_batches)])


def test_the_critical_values_are_those_of_tables():
    for degrees, tabled in ((5, 20.52), (10, 29.59), (30, 59.70), (99, 148.23)):
        assert critical(degrees) == pytest.approx(tabled, rel=0.03)


def test_uniform_is_uniform_over_what_is_not_left_out():
    found = drawn(UniformDraws(items(50, [0, 7, 49]), rng()), 16)
    counts = np.bincount(found, minlength=50)
    assert not counts[[0, 7, 49]].any()
    kept = np.delete(counts, [0, 7, 49])
    assert chi_square(kept, np.full(47, len(found) / 47)) < critical(46)


def test_neighbouring_draws_are_independent():
    found = drawn(UniformDraws(items(10), rng()), 16).reshape(-1, 2)
    counts = np.bincount(found[:, 0] * 10 + found[:, 1], minlength=100)
    assert chi_square(counts, np.full(100, len(found) / 100)) < critical(99)


@given(size=st.integers(1, 300), key=st.integers(0, 2**63 - 1), cut=st.integers(0, 300))
def test_a_permutation_has_every_number_once(size, key, cut):
    order = Permutation(size, key)
    cut = min(cut, size)
    found = np.concatenate([order.at(0, cut), order.at(cut, size)])
    assert sorted(found.tolist()) == list(range(size))


@pytest.mark.parametrize("size", [65_537, 65_600, 100_003, 262_144, 1_000_000])
def test_a_large_permutation_has_every_number_once(size):
    order = Permutation(size, 12345)
    found = np.concatenate([order.at(0, 777), order.at(777, size)])
    assert found.dtype == np.int64
    np.testing.assert_array_equal(np.sort(found), np.arange(size))
    assert (Permutation(size, 12346).at(0, 1000) != found[:1000]).mean() > 0.99


@pytest.mark.parametrize("size", [65_537, 5_000_000])
def test_large_permutations_look_random(size):
    """The number at a place is uniform over orders; so are differences of neighbours; ranks are not correlated."""
    places = [0, 1, size // 2, size - 1]
    first = np.array([[int(Permutation(size, key).at(at, at + 1)[0]) for at in places] for key in range(1000)])
    for column in first.T:
        counts = np.bincount(column * 20 // size, minlength=20)
        assert chi_square(counts, np.full(20, 50)) < critical(19)
    numbers = Permutation(size, 7).at(0, 50_000)
    assert chi_square(np.bincount(numbers * 100 // size, minlength=100), np.full(100, 500)) < critical(99)
    differences = np.diff(numbers) % size
    assert chi_square(np.bincount(differences * 100 // size, minlength=100), np.full(100, 499.99)) < critical(99)
    assert abs(np.corrcoef(np.arange(50_000), numbers)[0, 1]) < 0.02


def test_all_orders_of_few_items_are_equally_likely():
    draws = EpochDraws(items(4), rng())
    orders, counts = np.unique(drawn(draws, 4).reshape(-1, 4), axis=0, return_counts=True)
    assert len(orders) == 24
    assert chi_square(counts, np.full(24, NUM_BATCHES / 24)) < critical(23)


@given(
    count=st.integers(1, 60),
    batch_size=st.integers(1, 20),
    drop_last=st.booleans(),
    blocks=st.none() | st.builds(ShuffledBlocks, st.integers(1, 9), st.integers(1, 5)),
)
def test_epochs_are_exact(count, batch_size, drop_last, blocks):
    """25 x 400 batches."""
    if drop_last and batch_size > count:
        with pytest.raises(UsageError, match="holds no batch"):
            EpochDraws(items(count), rng(), drop_last=True).draw(batch_size)
        return
    draws = (
        EpochDraws(items(count), rng(), drop_last=drop_last)
        if blocks is None
        else BlockDraws(items(count), rng(), blocks, drop_last=drop_last)
    )
    seen: list[int] = []
    for _ in range(400):
        batch = draws.draw(batch_size)
        seen.extend(batch.items.tolist())
        if batch.ends_epoch:
            assert len(set(seen)) == len(seen)
            assert len(seen) == (count - count % batch_size if drop_last else count)
            seen = []
        else:
            assert len(batch.items) == batch_size
            assert len(seen) < count


def test_what_an_epoch_drops_differs():
    draws = EpochDraws(items(10), rng(), drop_last=True)
    dropped = [({*range(10)} - {*draws.draw(9).items.tolist()}).pop() for _ in range(NUM_BATCHES)]
    assert chi_square(np.bincount(dropped, minlength=10), np.full(10, NUM_BATCHES / 10)) < critical(9)


@given(count=st.integers(20, 300), block=st.integers(1, 12), at_once=st.integers(1, 6), seed=st.integers(0, 99))
def test_blocks_are_as_random_as_is_said(count, block, at_once, seed):
    """A window is `at_once` whole blocks, whose items are in no order; blocks come in no order."""
    draws = BlockDraws(items(count), rng(seed), ShuffledBlocks(block, at_once))
    order = drawn(draws, count, 1)
    num_blocks = -(-count // block)
    position = 0
    for window in range(0, num_blocks, at_once):
        chosen = min(at_once, num_blocks - window)
        numbers = []
        while len(set(numbers)) < chosen or (position < count and order[position] // block in numbers):
            numbers.append(order[position] // block)
            position += 1
        assert len(set(numbers)) == chosen
        assert sorted(order[position - len(numbers) : position].tolist()) == sorted(
            row for number in set(numbers) for row in range(number * block, min((number + 1) * block, count))
        )
    assert position == count


def test_blocks_come_in_any_order():
    draws = BlockDraws(items(30), rng(), ShuffledBlocks(3, 2))
    first = [int(draws.draw(30).items[0]) for _ in range(NUM_BATCHES)]
    assert chi_square(np.bincount(first, minlength=30), np.full(30, NUM_BATCHES / 30)) < critical(29)


@given(weights=st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0, 1e-300, 1e6]), min_size=1, max_size=12))
def test_weights_of_zero_are_never_drawn(weights):
    draws = WeightedDraws(items(len(weights)), rng(), np.array(weights)) if any(weights) else None
    if draws is not None:
        assert {*drawn(draws, 8, 50).tolist()} <= {*np.flatnonzero(weights).tolist()}


def test_weights_are_shares():
    weights = np.array([1, 0, 2, 3, 4, 0.5, 0, 9])
    counts = np.bincount(drawn(WeightedDraws(items(8), rng(), weights), 16), minlength=8)
    expected = weights / weights.sum() * counts.sum()
    assert not counts[weights == 0].any()
    assert chi_square(counts[weights > 0], expected[weights > 0]) < critical(5)


@pytest.mark.parametrize("weights", [[0, 0], [1, -1], [1, np.nan], [np.inf, 1]])
def test_no_weights(weights):
    with pytest.raises(UsageError, match="weights must be finite"):
        WeightedDraws(items(2), rng(), np.array(weights, float))


@given(
    count=st.integers(0, 300),
    shares=st.lists(st.sampled_from([0.0, 1.0, 2.5, 1e-9, 1e9, 1 / 3]), min_size=1, max_size=8).filter(any),
)
def test_a_division_is_within_one_of_the_shares(count, shares):
    shares = np.array(shares) / np.sum(shares)
    parts = divided(count, shares, rng(count))
    assert parts.sum() == count
    assert (np.abs(parts - count * shares) < 1 + 1e-6).all()
    assert not parts[shares == 0].any()


def test_divisions_are_right_on_average():
    shares = np.array([0.9, 0.07, 0.03])
    generator = rng()
    parts = np.array([divided(16, shares, generator) for _ in range(NUM_BATCHES)])
    errors = (parts - 16 * shares).mean(axis=0) / (0.5 / np.sqrt(NUM_BATCHES))
    assert (np.abs(errors) < 3.3).all()


def test_strata_have_equal_shares_whatever_their_sizes():
    labels = np.array([7] * 3 + [2] * 90 + [5] * 7)
    draws = StratifiedDraws(items(100), rng(), labels)
    counts = np.zeros(100)
    for _ in range(NUM_BATCHES):
        batch = draws.draw(10).items
        assert all(3 <= (labels[batch] == label).sum() <= 4 for label in (2, 5, 7))
        np.add.at(counts, batch, 1)
    for label in (2, 5, 7):
        within = counts[labels == label]
        assert chi_square(within, np.full(len(within), within.mean())) < critical(len(within) - 1)
        assert within.sum() == pytest.approx(counts.sum() / 3, rel=0.01)


def test_strata_have_the_shares_that_are_given():
    labels = np.array([False] * 50 + [True] * 2)
    draws = StratifiedDraws(items(52), rng(), labels, {True: 1, False: 3})
    assert all(labels[draws.draw(8).items].sum() == 2 for _ in range(100))
    with pytest.raises(UsageError, match="a share is given for 3, which no item has"):
        StratifiedDraws(items(52), rng(), labels, {3: 1})
    with pytest.raises(UsageError, match="20,000 different values are too many"):
        StratifiedDraws(items(20_000), rng(), np.arange(20_000))
