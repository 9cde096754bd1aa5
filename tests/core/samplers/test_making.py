"""``buffer.sampler(...)`` and ``mix_buffers``: options, their conflicts, and streams that go on exactly."""

from __future__ import annotations

import itertools
import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from played import Game, play
from reference import STORES, assert_same_rows

import rlbuffers
from rlbuffers.errors import SpecError, UnsupportedError, UsageError
from rlbuffers.samplers import Priorities, ShuffledBlocks, mix_buffers
from rlbuffers.transforms import ClipRewards, ConvertDtypes

GAMES = [
    Game(5, "timeout"),
    Game(1, "terminal", known=False),
    Game(4, "both"),
    Game(6, "neither", known=False),
    Game(3, "terminal", goals=(1,)),
]
DRAWS = {
    "uniform": {},
    "epochs": {"replacement": False},
    "drop-last": {"replacement": False, "drop_last": True},
    "weighted": {"weights": "weight"},
    "prioritized": {"priorities": Priorities()},
    "stratified": {"stratify": "label"},
    "blocks": {"blocks": ShuffledBlocks(3, 2)},
}
WINDOWS = {
    "transitions": {},
    "discounted": {"n_step": 1},
    "followed": {"next_actions": True, "n_step": 1},
    "n-step": {"n_step": 3},
    "sequences": {"sequence_length": 3, "burn_in": 1},
    "padded": {"episodes": "padded"},
    "joined": {"episodes": "joined"},
    "returns": {"returns_to_go": 0.9, "transforms": [ClipRewards(-0.5, 0.5)]},
}


def options_of(buffer, draw, window):
    """Weights and labels by row, or by episode."""
    if "episodes" in WINDOWS[window] and draw == "blocks":
        return None
    count = buffer.num_episodes if "episodes" in WINDOWS[window] else len(buffer)
    given = {**DRAWS[draw], **WINDOWS[window]}
    given.update({name: np.arange(count) % 3 for name in ("weights", "stratify") if name in given})
    return given


@pytest.fixture(scope="module", params=[0, 2], ids=["vectors", "stacks"])
def buffers(request, new_path):
    opened = {}
    for store in STORES:
        path = new_path(store)
        rows = play(GAMES, path, stack=request.param)
        opened[store] = rlbuffers.open(path)
    opened["no cache"] = rlbuffers.open(opened["zarr"].path, cache=0)
    return rows, opened


def streams(sampler, count):
    return [sampler.sample() for _ in range(count)]


def assert_same_batches(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert_same_rows(one, other)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("draw", DRAWS)
def test_every_composition_is_the_same_everywhere_and_goes_on_from_anywhere(buffers, draw, window):
    """Every store and cache; saved in the middle of an epoch, with batches read ahead; pickled."""
    _, opened = buffers
    options = options_of(opened["hdf5"], draw, window)
    if options is None:
        return
    size = 3 if "episodes" in options else 4
    sampler = opened["memory"].sampler(size, 3, **options)
    expected = streams(sampler, 14)
    saved = sampler.state_dict()
    final = sampler.stream_hash, sampler.num_batches
    after = streams(sampler, 6)
    for name in ("hdf5", "zarr", "no cache"):
        other = opened[name].sampler(size, 3, **options)
        assert_same_batches(streams(other, 14), expected)
        assert (other.stream_hash, other.num_batches) == final
    for workers, prefetch in ((0, 3), (1, 3), (3, 3), (1, 8)):  # the last one reads four batches in one call
        with opened["zarr"].sampler(size, 3, **options).loader(prefetch=prefetch, workers=workers) as loader:
            assert_same_batches(itertools.islice(loader, 5), expected[:5])
            state = loader.state_dict()
            if draw != "prioritized":
                state = json.loads(json.dumps(state))
            assert_same_batches(itertools.islice(loader, 9), expected[5:])
            assert (loader.sampler.stream_hash, loader.sampler.num_batches) == final
        resumed = opened["hdf5"].sampler(size, 99, **options)
        resumed.load_state_dict(state)
        assert_same_batches(streams(resumed, 9), expected[5:])
        with opened["hdf5"].sampler(size, 98, **options).loader(prefetch=1, workers=2) as loader:
            next(loader)
            loader.load_state_dict(saved)
            assert_same_batches(itertools.islice(loader, 6), after)
    copied = pickle.loads(pickle.dumps(opened["zarr"].sampler(size, 3, **options)))
    assert_same_batches(streams(copied, 14), expected)


def test_priorities_change_through_a_loader_as_without_hurry(buffers):
    """An update shows after as many batches as are read ahead, with any number of threads."""
    _, opened = buffers
    found = []
    for workers in (1, 2, 3):
        with opened["hdf5"].sampler(5, 0, priorities=Priorities()).loader(prefetch=2, workers=workers) as loader:
            stream = []
            for number in range(30):
                batch = next(loader)
                stream.append(batch["indices"].tolist())
                loader.sampler.update_priorities(batch["indices"], batch["rewards"] * 10)
                if number == 17:
                    state = loader.state_dict()
            found.append(stream)
    assert found[0] == found[1] == found[2]
    with opened["zarr"].sampler(5, 9, priorities=Priorities()).loader(prefetch=2, workers=2) as loader:
        loader.load_state_dict(state)
        for expected in found[0][18:]:
            batch = next(loader)
            assert batch["indices"].tolist() == expected
            loader.sampler.update_priorities(batch["indices"], batch["rewards"] * 10)


def test_initial_priorities_and_weights_by_the_name_of_a_column(buffers):
    rows, opened = buffers
    usable = rows.usable()
    sampler = opened["hdf5"].sampler(50, weights="terminals")
    assert {*rows.row_of(sampler.sample()["observations"]).tolist()} <= {*np.flatnonzero(rows.terminals).tolist()}
    sampler = opened["hdf5"].sampler(5, priorities=Priorities(1.0, initial=np.abs(rows.rewards)))
    shares = (np.abs(rows.rewards) + 1e-6)[usable]
    sums = np.cumsum(shares / shares.sum())
    wanted = np.searchsorted(sums, (np.arange(5) + np.random.default_rng(0).random(5)) / 5, side="right")
    assert sampler.sample()["indices"].tolist() == [usable[place] for place in wanted]
    lengths = (
        opened["hdf5"].sampler(1000, weights="lengths", episodes="joined", columns=["actions"]).sample()["lengths"]
    )
    assert (lengths == 6).mean() == pytest.approx(6 / 19, abs=0.05)
    assert (lengths == 1).mean() == pytest.approx(1 / 19, abs=0.03)


def test_epochs_of_samplers_and_loaders(buffers):
    rows, opened = buffers
    sampler = opened["hdf5"].sampler(4, replacement=False)
    next(iter(sampler))
    assert [len(batch["rewards"]) for batch in sampler.epoch()] == [4, 4, 4, 2]
    with sampler.loader(prefetch=3) as loader:
        for _ in range(2):
            seen = np.concatenate([rows.row_of(batch["observations"]) for batch in loader.epoch()])
            assert sorted(seen.tolist()) == rows.usable()
    with pytest.raises(UsageError, match="drawing with replacement has no epochs"):
        next(opened["hdf5"].sampler(4).epoch())
    with opened["hdf5"].loader(4) as loader, pytest.raises(UsageError, match="no epochs"):
        next(loader.epoch())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_step": 2, "sequence_length": 3}, "n_step and sequence_length exclude one another"),
        ({"replacement": False, "weights": "rewards"}, "replacement and weights exclude"),
        ({"blocks": ShuffledBlocks(), "episodes": "joined"}, "blocks and episodes exclude"),
        ({"drop_last": True}, "drop_last means something only together with replacement=False"),
        ({"burn_in": 2}, "burn_in means something only together with sequence_length"),
        ({"shares": {1: 2}}, "shares means something only together with stratify"),
        ({"weights": np.ones(3)}, r"weights: expected one for each of 19 rows, got an array of \(3,\)"),
        ({"weights": "rewards"}, "weights must be finite, none of them negative"),
        ({"stratify": "observations"}, "labels: expected one for each of 19 rows"),
    ],
)
def test_options_that_make_no_sense(buffers, options, message):
    with pytest.raises(UsageError, match=message) as caught:
        buffers[1]["hdf5"].sampler(2, **options)
    assert "\n" not in str(caught.value)


def test_columns_that_do_not_exist(buffers):
    with pytest.raises(SpecError, match="no column 'weight'"):
        buffers[1]["hdf5"].sampler(2, weights="weight")
    with pytest.raises(SpecError, match="episodes have no column 'score'; they have final_known, "):
        buffers[1]["hdf5"].sampler(2, weights="score", episodes="joined")
    with pytest.raises(UsageError, match="has no priorities"):
        buffers[1]["hdf5"].sampler(2).update_priorities([1], [1])


def test_states_of_others_are_refused(buffers, new_path):
    buffer = buffers[1]["hdf5"]
    path = new_path("memory")
    play([Game(19, "terminal")], path)
    other = rlbuffers.open(path)
    sampler = buffer.sampler(2, replacement=False)
    with pytest.raises(UsageError, match="other data"):
        sampler.load_state_dict(other.sampler(2, replacement=False).state_dict())
    with pytest.raises(UsageError, match="its 'kind' is 'uniform', not 'epochs'"):
        sampler.load_state_dict(buffer.sampler(2).state_dict())
    with pytest.raises(UsageError, match="its 'num_items' is 15, not 18"):
        sampler.load_state_dict(buffer.sampler(2, replacement=False, n_step=4).state_dict())
    with pytest.raises(UsageError, match="other blocks"):
        buffer.sampler(2, blocks=ShuffledBlocks(3, 2)).load_state_dict(
            buffer.sampler(2, blocks=ShuffledBlocks(2, 2)).state_dict()
        )
    for broken in ({"position": 18}, {"position": None}, {"epoch_key": "x"}, {"waiting": 3}, {"waiting": [{}]}):
        with pytest.raises(UsageError, match="not the state of"):
            sampler.load_state_dict({**sampler.state_dict(), **broken})
    with pytest.raises(UsageError, match="not the state of"):
        sampler.load_state_dict(None)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("draw", ["uniform", "epochs", "prioritized"])
def test_mixtures_have_their_shares(new_path, draw, window):
    paths = [new_path("memory"), new_path("hdf5")]
    played = [play(GAMES, paths[0]), play([Game(7, "timeout"), *GAMES[:2]], paths[1], seed=1)]
    opened = [rlbuffers.open(path) for path in paths]
    options = {**DRAWS[draw], **WINDOWS[window]}
    sampler = mix_buffers(opened, [0.9, 0.1], 12, 5, **options)
    num_of_second = []
    for _ in range(100):
        batch = sampler.sample()
        sources = batch["buffer_index"]
        assert len(sources) == 12
        num_of_second.append(int(sources.sum()))
        assert (np.diff(sources) >= 0).all()
        if window in ("transitions", "discounted", "n-step", "returns"):
            for number, rows in enumerate(played):
                at = rows.row_of(batch["observations"][sources == number])
                np.testing.assert_array_equal(batch["actions"][sources == number], rows.actions[at])
    assert {*num_of_second} == {1, 2}
    assert np.mean(num_of_second) == pytest.approx(1.2, abs=0.15)
    state = sampler.state_dict()
    expected = [sampler.sample() for _ in range(5)]
    again = mix_buffers(opened, [0.9, 0.1], 12, 6, **options)
    again.load_state_dict(state)
    assert_same_batches([again.sample() for _ in range(5)], expected)
    again.load_state_dict(state)
    with again.loader(workers=2) as loader:
        assert_same_batches(itertools.islice(loader, 5), expected)


def test_ten_thousand_batches_of_a_mixture(new_path):
    """Each holds the rows of two brute-force tables, in shares that come out exactly in the long run."""
    paths = [new_path("memory") for _ in range(2)]
    played = [play(GAMES, paths[0]), play([Game(7, "timeout"), *GAMES[:2]], paths[1], seed=1)]
    sampler = mix_buffers([rlbuffers.open(path) for path in paths], [0.7, 0.3], 6, 5)
    usable = [opened.window.items.capacity for opened in sampler.samplers]
    counts = [np.zeros(len(rows.actions), np.int64) for rows in played]
    for _ in range(10_000):
        batch = sampler.sample()
        for number, rows in enumerate(played):
            chosen = batch["buffer_index"] == number
            at = rows.row_of(batch["observations"][chosen])
            for name in ("actions", "rewards", "terminals"):
                np.testing.assert_array_equal(batch[name][chosen], getattr(rows, name)[at])
            np.add.at(counts[number], at, 1)
    drawn = np.array([count.sum() for count in counts])
    assert drawn.sum() == 60_000
    np.testing.assert_allclose(drawn, [42_000, 18_000], atol=4 * np.sqrt(60_000 * 0.7 * 0.3))
    for count, number in zip(counts, usable, strict=True):
        found = count[count > 0]
        assert len(found) == number
        expected = found.sum() / number
        chi_square = ((found - expected) ** 2 / expected).sum()
        assert chi_square < number - 1 + 5 * np.sqrt(2 * (number - 1))  # five standard deviations


def test_mixtures_of_what_differs_are_refused(new_path):
    paths = [new_path("memory") for _ in range(2)]
    play(GAMES, paths[0])
    play(GAMES, paths[1], stack=2)
    first, second = (rlbuffers.open(path) for path in paths)
    with pytest.raises(SpecError, match=r"column 'next_observations' is float32 \(2,\) in buffer 0, but uint8"):
        mix_buffers([first, second], [1, 1], 4)
    assert mix_buffers([first, second], [1, 1], 4, columns=["rewards", "actions"]).sample()["rewards"].shape == (4,)
    with pytest.raises(UsageError, match="one weight for each buffer, got 1 for 2"):
        mix_buffers([first, first], [1], 4)
    with pytest.raises(UsageError, match="weights of a mixture must be finite"):
        mix_buffers([first, first], [0, 0], 4)
    with pytest.raises(UsageError, match="not that of a mixture of 2"):
        mix_buffers([first, first], [1, 1], 4).load_state_dict({})


@given(size=st.integers(1, 9), cut=st.sampled_from([{"float64": "float32"}, {"rewards": "float32"}]))
def test_transforms_are_applied_before_rewards_are_summed(new_path, size, cut):
    path = new_path("memory")
    rows = play([Game(6, "timeout")], path)
    sampler = rlbuffers.open(path).sampler(
        size, n_step=3, gamma=1.0, returns_to_go=1.0, transforms=[ClipRewards(-0.5, 0.5), ConvertDtypes(cut)]
    )
    batch = sampler.sample()
    at = rows.row_of(batch["observations"])
    clipped = np.clip(rows.rewards, -0.5, 0.5)
    np.testing.assert_allclose(batch["rewards"], [clipped[row : row + 3].sum() for row in at], rtol=1e-6)
    np.testing.assert_allclose(batch["returns_to_go"], [clipped[row:].sum() for row in at], rtol=1e-6)
    assert batch["rewards"].dtype == np.float32


def test_transitions_without_time_mix_too(new_path):
    from reference import Recipe, make, write

    paths = [write(new_path("memory"), make(Recipe("transitions", (30,), stack=2, seed=seed))) for seed in (0, 1)]
    sampler = mix_buffers([rlbuffers.open(path) for path in paths], [1, 1], 8)
    assert sampler.sample()["observations"].shape == (8, 2, 3, 4)
    with pytest.raises(UnsupportedError):
        mix_buffers([rlbuffers.open(path) for path in paths], [1, 1], 8, n_step=2)
