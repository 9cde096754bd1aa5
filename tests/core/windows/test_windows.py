"""What is read at each drawn item, against loops over the rows; without replacement, so that nothing is missed.

Each test looks at 25 buffers and at least 400 batches of each: 10,000 batches.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from played import Game, games, play
from reference import Recipe, make, write

import rlbuffers
from rlbuffers.errors import UnsupportedError, UsageError
from rlbuffers.samplers import split_episodes
from rlbuffers.transforms import ClipRewards

NUM_BATCHES = 400
GAMMA = 0.9
stacks = st.sampled_from([0, 0, 2])
batch_sizes = st.integers(1, 9)


def batches(sampler, expected_items):
    """Yield batches of whole epochs with their items; check that each epoch has every item once."""
    count = 0
    while count < NUM_BATCHES:
        seen = []
        while True:
            drawn = sampler.draw()
            seen.extend(drawn.items.tolist())
            yield sampler.read(drawn), drawn.items
            count += 1
            if drawn.ends_epoch:
                break
        assert sorted(seen) == expected_items


@given(played=games(), stack=stacks, batch_size=batch_sizes)
def test_transitions(new_path, played, stack, batch_size):
    path = new_path("memory")
    rows = play(played, path, stack=stack)
    sampler = rlbuffers.open(path).sampler(batch_size, replacement=False)
    for batch, _ in batches(sampler, rows.usable()):
        at = rows.row_of(batch["observations"])
        for name in ("actions", "rewards", "terminals", "timeouts", "next_observations"):
            np.testing.assert_array_equal(batch[name], getattr(rows, name)[at])


@given(played=games(), stack=stacks, batch_size=batch_sizes)
def test_next_actions(new_path, played, stack, batch_size):
    path = new_path("memory")
    rows = play(played, path, stack=stack)
    steps = [rows.steps_from(row, 2) for row in range(len(rows))]
    expected = [rows.actions[walk[1]] if len(walk) == 2 else 0 * rows.actions[0] for walk in steps]
    sampler = rlbuffers.open(path).sampler(batch_size, replacement=False, n_step=1, next_actions=True)
    for batch, _ in batches(sampler, rows.usable()):
        at = rows.row_of(batch["observations"])
        assert batch["next_action_known"].tolist() == [len(steps[row]) == 2 for row in at]
        np.testing.assert_array_equal(batch["next_actions"], np.array([expected[row] for row in at]))
        assert batch["next_actions"].dtype == batch["actions"].dtype


@given(played=games(), stack=stacks, batch_size=batch_sizes, n_step=st.integers(1, 9))
def test_n_steps(new_path, played, stack, batch_size, n_step):
    path = new_path("memory")
    rows = play(played, path, stack=stack)
    steps = [rows.steps_from(row, n_step) for row in range(len(rows))]
    last = np.array([walk[-1] for walk in steps])
    sums = np.array([sum(GAMMA**k * rows.rewards[step] for k, step in enumerate(walk)) for walk in steps])
    discounts = np.array([0.0 if rows.terminals[walk[-1]] else GAMMA ** len(walk) for walk in steps])
    items = [row for row in range(len(rows)) if rows.is_usable(last[row])]
    sampler = rlbuffers.open(path).sampler(batch_size, replacement=False, n_step=n_step, gamma=GAMMA)
    for batch, _ in batches(sampler, items):
        at = rows.row_of(batch["observations"])
        np.testing.assert_array_equal(batch["actions"], rows.actions[at])
        np.testing.assert_allclose(batch["rewards"], sums[at], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(batch["discounts"], discounts[at], rtol=1e-6)
        for name in ("terminals", "timeouts", "next_observations"):
            np.testing.assert_array_equal(batch[name], getattr(rows, name)[last[at]])


@given(played=games(), stack=stacks, batch_size=batch_sizes, length=st.integers(1, 5), burn_in=st.integers(0, 3))
def test_sequences(new_path, played, stack, batch_size, length, burn_in):
    path = new_path("memory")
    rows = play(played, path, stack=stack)
    expected = {}
    for row in rows.usable():
        steps = range(row - burn_in, row + length)
        expected[row] = [t if 0 <= t < len(rows) and rows.games[t] == rows.games[row] else -1 for t in steps]
    usable = np.array([rows.is_usable(row) for row in range(len(rows))])
    options = {"sequence_length": length, "burn_in": burn_in, "returns_to_go": 1.0}
    sampler = rlbuffers.open(path).sampler(batch_size, replacement=False, **options)
    returns = np.array([rows.return_to_go(row, 1.0) for row in range(len(rows))])
    for batch, items in batches(sampler, rows.usable()):
        at = rows.row_of(batch["observations"])
        assert at.tolist() == [expected[item] for item in items.tolist()]
        np.testing.assert_array_equal(batch["mask"], (at >= 0) & usable[at])
        for name in ("actions", "rewards", "terminals", "timeouts", "next_observations"):
            values = getattr(rows, name)[at]
            values[at < 0] = 0
            np.testing.assert_array_equal(batch[name], values)
        np.testing.assert_allclose(batch["returns_to_go"], np.where(at < 0, 0, returns[at]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", ["padded", "joined"])
@given(played=games(), stack=stacks, batch_size=batch_sizes)
def test_episodes(new_path, form, played, stack, batch_size):
    path = new_path("memory")
    rows = play(played, path, stack=stack)
    usable = np.array([rows.is_usable(row) for row in range(len(rows))])
    sampler = rlbuffers.open(path).sampler(batch_size, replacement=False, episodes=form)
    for batch, items in batches(sampler, list(range(len(played)))):
        lengths = [played[item].length for item in items]
        assert batch["lengths"].tolist() == lengths
        at = np.concatenate([np.flatnonzero(rows.games == item) for item in items])
        if form == "padded":
            inside = np.arange(max(lengths)) < np.array(lengths)[:, None]
            found = {name: values[inside] for name, values in batch.items() if name != "lengths"}
            assert not any(values[~inside].any() for name, values in batch.items() if name != "lengths")
        else:
            found = batch
            assert [len(episode["rewards"]) for episode in split_episodes(batch)] == lengths
            np.testing.assert_array_equal(split_episodes(batch)[-1]["rewards"], batch["rewards"][-lengths[-1] :])
        np.testing.assert_array_equal(found["mask"], usable[at])
        for name in ("observations", "actions", "rewards", "terminals", "timeouts", "next_observations"):
            np.testing.assert_array_equal(found[name], getattr(rows, name)[at])


@given(played=games(), discount=st.sampled_from([0.0, 0.5, 0.99, 1.0]))
def test_returns_to_go(new_path, played, discount):
    path = new_path("memory")
    rows = play(played, path)
    expected = np.array([rows.return_to_go(row, discount) for row in range(len(rows))])
    sampler = rlbuffers.open(path).sampler(16, returns_to_go=discount)
    for batch in itertools.islice(sampler, NUM_BATCHES):
        at = rows.row_of(batch["observations"])
        np.testing.assert_allclose(batch["returns_to_go"], expected[at], rtol=1e-5, atol=1e-6)
        assert batch["returns_to_go"].dtype == np.float32


def test_returns_to_go_of_long_episodes(new_path):
    """Lengths around powers of two, where the doubling of sums ends."""
    path = new_path("memory")
    lengths = [1, 2, 3, 4, 5, 127, 128, 129, 1000, 1]
    rows = play([Game(length, "timeout") for length in lengths], path)
    with rlbuffers.open(path) as buffer:
        batch = buffer.sampler(len(rows), replacement=False, returns_to_go=0.99, columns=["observations"]).sample()
    expected = np.zeros(len(rows))
    for row in reversed(range(len(rows))):
        expected[row] = rows.rewards[row] + (0.0 if rows.last[row] else 0.99 * expected[row + 1])
    np.testing.assert_allclose(batch["returns_to_go"], expected[rows.row_of(batch["observations"])], rtol=1e-5)


def test_a_goal_that_play_goes_on_from_ends_the_task():
    """As in AntMaze: one-step targets do not bootstrap from a goal, so neither do n steps reach beyond it."""
    path = "memory:goal"
    rows = play([Game(6, "timeout", goals=(2,))], path)
    with rlbuffers.open(path) as buffer:
        batch = buffer.sampler(64, n_step=4, gamma=0.5, returns_to_go=0.5).sample()
        at = rows.row_of(batch["observations"])
        np.testing.assert_array_equal(batch["discounts"], np.array([0, 0, 0, 1 / 8, 1 / 4, 1 / 2])[at])
        infinite = buffer.sampler(64, n_step=100, gamma=0.5, returns_to_go=0.5).sample()
        np.testing.assert_allclose(infinite["rewards"], infinite["returns_to_go"], rtol=1e-6)
        assert buffer.sampler(1, episodes="joined").sample()["mask"].all()


@pytest.mark.parametrize(
    "options",
    [{"n_step": 3}, {"next_actions": True}, {"sequence_length": 2}, {"episodes": "padded"}, {"returns_to_go": 1.0}],
    ids=["n-step", "next-actions", "sequences", "episodes", "returns-to-go"],
)
def test_independent_transitions_have_no_time(new_path, options):
    path = write(new_path("memory"), make(Recipe("transitions", (9,))))
    with rlbuffers.open(path) as buffer, pytest.raises(UnsupportedError) as caught:
        buffer.sampler(2, **options)
    assert "need steps in time order; this buffer holds independent transitions (order: time)" in str(caught.value)
    assert "convert the source with layout episodes" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_single_transitions_have_discounts_in_any_layout(new_path):
    made = make(Recipe("transitions", (9,), stack=2))
    with rlbuffers.open(write(new_path("memory"), made)) as buffer:
        batch = buffer.sampler(9, replacement=False, n_step=1, gamma=0.25, columns=["rewards"]).sample()
    terminals = dict(zip(made.table["rewards"].tolist(), made.table["terminals"].tolist(), strict=True))
    assert batch["discounts"].tolist() == [0.0 if terminals[reward] else 0.25 for reward in batch["rewards"].tolist()]
    assert list(batch) == ["rewards", "discounts"]


def test_nothing_to_draw(new_path):
    path = new_path("memory")
    play([Game(3, "timeout", known=False)], path)
    with rlbuffers.open(path) as buffer:
        assert buffer.sampler(1).num_items == 2
        assert buffer.sampler(1, n_step=2).num_items == 1
        with pytest.raises(UsageError, match="nothing to draw"):
            buffer.sampler(1, n_step=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_step": 0}, "n_step must be at least 1"),
        ({"n_step": 2, "gamma": 1.5}, "gamma must lie in"),
        ({"n_step": 1, "gamma": -1}, "gamma must lie in"),
        ({"n_step": 2, "next_actions": True}, "next_actions and n_step exclude one another"),
        ({"sequence_length": 0}, "length of at least 1"),
        ({"sequence_length": 2, "burn_in": -1}, "no negative burn-in"),
        ({"returns_to_go": 2}, "discount of returns-to-go"),
        ({"episodes": "list"}, "'padded' or 'joined'"),
    ],
)
def test_numbers_out_of_range(new_path, options, message):
    path = new_path("memory")
    play([Game(3, "timeout")], path)
    with rlbuffers.open(path) as buffer, pytest.raises(UsageError, match=message):
        buffer.sampler(1, **options)


@pytest.mark.parametrize(
    ("dtype", "wanted"), [("int8", "float32"), ("float16", "float32"), ("float32", "float32"), ("float64", "float64")]
)
def test_sums_of_narrow_rewards_do_not_overflow(new_path, dtype, wanted):
    reward = 49_984 if dtype.startswith("float") else 100
    spec = rlbuffers.BufferSpec(
        "episodes",
        [
            rlbuffers.ColumnSpec("observations", np.float32, (1,)),
            rlbuffers.ColumnSpec("actions", np.int64),
            rlbuffers.ColumnSpec("rewards", dtype),
            rlbuffers.ColumnSpec("terminals", np.bool_),
        ],
    )
    path = new_path("memory")
    columns = {
        "actions": np.zeros(5, np.int64),
        "rewards": np.full(5, reward, dtype),
        "terminals": np.arange(5) == 4,
    }
    with rlbuffers.create(path, spec) as writer:
        writer.append_episode(rlbuffers.Episode(columns, {"observations": np.zeros((6, 1), np.float32)}))
    with rlbuffers.open(path) as buffer:
        options = {"n_step": 3, "gamma": 1.0, "returns_to_go": 1.0, "replacement": False}
        batch = buffer.sampler(5, **options).sample()
        clipped = buffer.sampler(5, **options, transforms=[ClipRewards(-0.5, 0.5)]).sample()
    assert sorted(batch["rewards"].tolist()) == [reward * steps for steps in (1, 2, 3, 3, 3)]
    assert sorted(batch["returns_to_go"].tolist()) == [reward * steps for steps in (1, 2, 3, 4, 5)]
    assert sorted(clipped["rewards"].tolist()) == [0.5, 1.0, 1.5, 1.5, 1.5]
    assert (batch["rewards"].dtype, clipped["rewards"].dtype) == (wanted, wanted)
