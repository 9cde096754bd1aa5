from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import Recipe, assert_same_rows, make, taken, write
from varied import (
    Varied,
    all_cases,
    assert_same_episodes,
    read_episodes,
    varied_buffers,
    with_ids,
    write_varied,
)

import rlbuffers
from rlbuffers.editing import filter as filter_module
from rlbuffers.errors import UnsupportedError, UsageError


@pytest.fixture
def path(new_path):
    path = new_path("memory")
    write_varied(path, all_cases())
    return path


def return_of(episode):
    return float(episode["rewards"].sum())


CONDITIONS = {
    "return > 0": lambda e: return_of(e) > 0,
    "length <= 3 or whole": lambda e: len(e["rewards"]) <= 3 or e["whole"],
    "terminal and not timeout": lambda e: e["terminals"][-1] and not e["timeouts"][-1],
    "mean(abs(infos/x)) > 0.8": lambda e: np.abs(e["infos/x"]).mean() > 0.8,
    "any(rewards > return)": lambda e: (e["rewards"] > return_of(e)).any(),
    "seeds % 14 == 0 and goals[1] > -1": lambda e: e["seeds"] % 14 == 0 and e["goals"][1] > -1,
    "last(actions) in (0, 2) or episodes/seeds == 7": lambda e: e["actions"][-1] in (0, 2) or e["seeds"] == 7,
    "episode < 2": lambda e: e["seeds"] < 14,
}


@given(varied=varied_buffers(), where=st.sampled_from(sorted(CONDITIONS)), block=st.sampled_from([1, 5000, 1 << 25]))
def test_whole_episodes_that_satisfy_a_condition(new_path, varied, where, block):
    path, output = new_path("memory"), new_path("memory")
    expected = [episode for episode in write_varied(path, varied) if CONDITIONS[where](episode)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filter_module, "_BLOCK_BYTES", block)
        if not expected:
            with pytest.raises(UsageError, match=r"no episode of .* is left; returns go from"):
                rlbuffers.filter(path, output, where)
            return
        rlbuffers.filter(path, output, where)
    assert_same_episodes(read_episodes(output), expected)


@pytest.mark.parametrize("stack", [0, 3])
def test_observations_and_next_observations_may_be_asked_for(new_path, stack):
    path, output = new_path("memory"), new_path("memory")
    varied = Varied((3, 5, 2, 4), ((True, True, True, False),) * 4, stack=stack)
    episodes = write_varied(path, varied)
    means = [episode["observations"][1:].astype(np.float64).mean() for episode in episodes]
    middle = float(sorted(means)[1]) + 1e-9
    rlbuffers.filter(path, output, f"mean(next_observations) > {middle!r}")
    kept = [episode for episode, mean in zip(episodes, means, strict=True) if mean > middle]
    assert_same_episodes(read_episodes(output), kept)
    assert len(kept) == 2


@pytest.mark.parametrize("block", [1, 1 << 25])
def test_independent_rows_that_satisfy_a_condition(new_path, monkeypatch, block):
    monkeypatch.setattr(filter_module, "_BLOCK_BYTES", block)
    made = make(Recipe("transitions", (90, 40), stack=2, apart=0.3))
    path, output = write(new_path("memory"), made), new_path("memory")
    rlbuffers.filter(path, output, "actions in (1, 3) and max(observations[1]) > 240 or row == 7")
    table = made.table
    rows = [
        row
        for row in range(130)
        if (table["actions"][row] in (1, 3) and table["observations"][row][1].max() > 240) or row == 7
    ]
    with rlbuffers.open(output) as found:
        assert_same_rows(found[:], taken(table, rows))
        assert found.metadata["derivation"]["arguments"] == {
            "where": "actions in (1, 3) and max(observations[1]) > 240 or row == 7"
        }
    with pytest.raises(UsageError, match="no transition of 130 is left; see `rlbuffers info`"):
        rlbuffers.filter(path, new_path("memory"), "row < 0")


@given(varied=varied_buffers(), fraction=st.floats(0.05, 1))
def test_episodes_with_the_highest_returns(new_path, varied, fraction):
    path, output = new_path("memory"), new_path("memory")
    episodes = write_varied(path, varied)
    whole = [number for number, episode in enumerate(episodes) if episode["whole"]]
    if not whole:
        with pytest.raises(UsageError, match="no episode"):
            rlbuffers.filter(path, output, top_returns=fraction)
        return
    rlbuffers.filter(path, output, top_returns=fraction)
    ranked = sorted(whole, key=lambda number: (-return_of(episodes[number]), number))
    count = max(int(round(fraction * len(whole), 9)), 1)
    assert_same_episodes(read_episodes(output), [episodes[number] for number in sorted(ranked[:count])])


def test_top_returns_are_of_what_is_left(new_path):
    output = new_path("memory")
    write_varied(path := new_path("memory"), all_cases((3, 1, 5, 2, 4, 1, 6, 2, 7, 3, 2, 1, 8, 2, 3, 4)))
    rlbuffers.filter(path, output, "episode != 0", top_returns=0.5, min_length=2)
    episodes = read_episodes(path)
    left = [n for n in range(1, 16) if len(episodes[n]["rewards"]) >= 2 and episodes[n]["whole"]]
    ranked = sorted(left, key=lambda number: (-return_of(episodes[number]), number))
    assert len(left) == 5
    assert_same_episodes(read_episodes(output), [episodes[number] for number in sorted(ranked[: len(left) // 2])])
    with rlbuffers.open(output) as found:
        assert found.metadata["derivation"]["arguments"] == {
            "where": "episode != 0",
            "top_returns": 0.5,
            "min_length": 2,
        }


def test_top_returns_of_rows_that_name_their_episode(new_path):
    ids = np.random.default_rng(0).integers(0, 10, 100).tolist()
    path, output = new_path("memory"), new_path("memory")
    table = with_ids(path, ids, returns=True)
    rlbuffers.filter(path, output, top_returns=0.3)
    with rlbuffers.open(output) as found:
        assert_same_rows(found[:], taken(table, np.flatnonzero(np.array(ids) >= 7)))
    rlbuffers.filter(path, output, "episode_returns < 85", top_returns=0.3, overwrite=True)
    with rlbuffers.open(output) as found:
        assert sorted(set(found[:]["episode_ids"].tolist())) == [7, 8]


def test_what_cannot_be_filtered(new_path, path):
    rows = write(new_path("memory"), make(Recipe("transitions", (9,))))
    output = new_path("hdf5")
    for what, error, message in (
        ({}, UsageError, "say what to keep"),
        ({"where": "retrun > 3"}, UsageError, "did you mean 'return'"),
        ({"where": "actions > 3"}, UsageError, "gives one value a step"),
        ({"top_returns": 0.0}, UsageError, "expected a fraction above 0"),
        ({"min_length": 100}, UsageError, "no episode of 8 is left; returns go from .*, lengths from 1 to 6"),
    ):
        with pytest.raises(error, match=message):
            rlbuffers.filter(path, output, **what)
    for what, message in (
        ({"top_returns": 0.5}, "need episode_ids and episode_returns"),
        ({"min_length": 3}, "independent transitions have no length"),
    ):
        with pytest.raises(UnsupportedError, match=message):
            rlbuffers.filter(rows, output, **what)
    with pytest.raises(UsageError, match="there is no 'return'"):
        rlbuffers.filter(rows, output, "return > 3")
    assert not output.exists()
