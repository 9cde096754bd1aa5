"""Prioritized draws against an O(N) implementation: an array of priorities and a sum over all of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlbuffers.errors import UsageError
from rlbuffers.samplers.prioritized import LinearSchedule, Priorities, PrioritizedDraws
from rlbuffers.samplers.reduction_tree import ReductionTree
from rlbuffers.windows.items import FixedItems


def items(count: int) -> FixedItems:
    return FixedItems("rows", count)


@given(size=st.sampled_from([1, 2, 15, 16, 17, 255, 256, 257, 5000]), seed=st.integers(0, 99))
def test_a_tree_is_the_reduction_of_its_leaves(size, seed):
    rng = np.random.default_rng(seed)
    for reduce, neutral in ((np.add, 0.0), (np.minimum, np.inf)):
        tree = ReductionTree(size, reduce, neutral)
        leaves = np.full(size, neutral)
        for _ in range(20):
            places = rng.integers(size, size=rng.integers(0, 40))
            values = rng.random(len(places))
            tree.set(places, values)
            for place, value in zip(places, values, strict=True):
                leaves[place] = value
            np.testing.assert_array_equal(tree.leaves, leaves)
            assert tree.root == pytest.approx(reduce.reduce(leaves), rel=1e-12)


@given(seed=st.integers(0, 2**16), size=st.integers(1, 400), zeros=st.sampled_from([0.0, 0.5, 0.95]))
def test_points_are_found_where_the_sums_say(seed, size, zeros):
    """25 x 400 batches."""
    rng = np.random.default_rng(seed)
    leaves = rng.integers(1, 100, size) * (rng.random(size) >= zeros)
    leaves[rng.integers(size)] = 1
    tree = ReductionTree(size, np.add, 0.0)
    tree.set(np.arange(size), leaves)
    upper = np.cumsum(leaves)
    for _ in range(400):
        points = rng.random(8) * upper[-1]
        np.testing.assert_array_equal(tree.find(points), np.searchsorted(upper, points, side="right"))
    edges = np.concatenate([[0], upper[:-1]]).astype(float)
    edges = edges[edges < upper[-1]]
    np.testing.assert_array_equal(tree.find(edges), np.searchsorted(upper, edges, side="right"))


@given(seed=st.integers(0, 2**16))
def test_no_leaf_of_zero_is_found_however_sums_round(seed):
    rng = np.random.default_rng(seed)
    leaves = 10.0 ** rng.integers(-12, 12, 300) * (rng.random(300) < 0.3)
    leaves[0] = 0.0
    leaves[123] = 0.1
    tree = ReductionTree(300, np.add, 0.0)
    tree.set(np.arange(300), leaves)
    points = np.concatenate([rng.random(500) * tree.root, [0.0, np.nextafter(tree.root, 0)]])
    assert (leaves[tree.find(points)] > 0).all()


class Naive:
    """Section 3 of the paper, by the letter."""

    def __init__(self, count, settings):
        self.powers = np.ones(count)
        self.settings = settings
        self.num_drawn = 0

    def weights(self, chosen):
        probabilities = self.powers / self.powers.sum()
        weights = (len(self.powers) * probabilities) ** -self.settings.beta_after(self.num_drawn)
        self.num_drawn += 1
        return weights[chosen] / weights.max()

    def update(self, chosen, priorities):
        for place, priority in zip(chosen, priorities, strict=True):
            self.powers[place] = (abs(priority) + self.settings.epsilon) ** self.settings.alpha


@given(
    count=st.integers(1, 300),
    batch_size=st.integers(1, 16),
    alpha=st.sampled_from([0.0, 0.6, 1.0]),
    beta=st.sampled_from([0.0, 0.4, 1.0, LinearSchedule(0.4, 1.0, 100)]),
    seed=st.integers(0, 2**16),
)
def test_draws_and_weights_are_those_of_the_paper(count, batch_size, alpha, beta, seed):
    """25 x 400 batches, each followed by an update."""
    settings = Priorities(alpha, beta)
    draws = PrioritizedDraws(items(count), np.random.default_rng(seed), settings)
    naive = Naive(count, settings)
    rng, points = np.random.default_rng(seed + 1), np.random.default_rng(seed)
    for _ in range(400):
        batch = draws.draw(batch_size)
        part = naive.powers.sum() / batch_size
        at = (np.arange(batch_size) + points.random(batch_size)) * part
        upper = np.cumsum(naive.powers)
        same = batch.items == np.minimum(np.searchsorted(upper, at, side="right"), count - 1)
        # A point so near to a border that the order of the summation decides.
        near = np.abs(upper[np.minimum(np.searchsorted(upper, at), count - 1)] - at) < 1e-9 * upper[-1]
        assert (same | near).all()
        np.testing.assert_array_equal(batch.extras["indices"], batch.items)
        np.testing.assert_allclose(batch.extras["importance_weights"], naive.weights(batch.items), rtol=1e-5)
        priorities = rng.normal(size=batch_size) * 10
        draws.update(batch.items, priorities)
        naive.update(batch.items, priorities)


def test_priorities_are_shares():
    """Parts of a batch are drawn from parts of the sum, so that counts vary less than chi-square allows."""
    priorities = np.arange(1, 21.0)
    draws = PrioritizedDraws(items(20), np.random.default_rng(0), Priorities(0.6, epsilon=0.0), priorities)
    counts = np.bincount(np.concatenate([draws.draw(1).items for _ in range(10_000)]), minlength=20)
    expected = priorities**0.6 / (priorities**0.6).sum() * 10_000
    assert ((counts - expected) ** 2 / expected).sum() < 43.82  # 19 degrees of freedom, 1 in 1,000
    counts = np.bincount(np.concatenate([draws.draw(32).items for _ in range(10_000)]), minlength=20)
    assert (np.abs(counts - expected * 32) < 4 * np.sqrt(expected * 32)).all()


@pytest.mark.parametrize(
    ("indices", "priorities", "message"),
    [
        ([0, 1], [1.0], "one priority for each"),
        ([5], [1.0], "row 5 is none that this sampler draws"),
        ([-1], [1.0], "row -1 is none"),
        ([0], [np.nan], "priorities must be finite"),
    ],
)
def test_updates_that_make_no_sense(indices, priorities, message):
    draws = PrioritizedDraws(items(5), np.random.default_rng(0), Priorities())
    with pytest.raises(UsageError, match=message):
        draws.update(np.array(indices), np.array(priorities))


def test_a_priority_of_nothing_needs_epsilon():
    draws = PrioritizedDraws(items(5), np.random.default_rng(0), Priorities(epsilon=0.0))
    with pytest.raises(UsageError, match="needs an epsilon above 0"):
        draws.update(np.array([0]), np.array([0.0]))
    with pytest.raises(UsageError, match="must not be negative"):
        Priorities(alpha=-1)


def test_a_schedule_ends():
    schedule = LinearSchedule(0.4, 1.0, 10)
    assert [schedule(0), schedule(5), schedule(10), schedule(99)] == pytest.approx([0.4, 0.7, 1.0, 1.0])
