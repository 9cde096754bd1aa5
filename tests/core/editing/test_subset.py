from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import Recipe, assert_same_rows, make, taken, write
from varied import all_cases, assert_same_episodes, cut, read_episodes, varied_buffers, with_ids, write_varied

import rlbuffers
from rlbuffers.errors import BufferExistsError, BufferNotFoundError, UnsupportedError, UsageError


@pytest.fixture
def path(new_path):
    path = new_path("memory")
    write_varied(path, all_cases())
    return path


@given(varied=varied_buffers(), share=st.floats(0.01, 1), by=st.sampled_from(["first", "random"]), is_cut=st.booleans())
def test_whole_episodes_until_the_size_is_reached(new_path, varied, share, by, is_cut):
    path, output = new_path("memory"), new_path("memory")
    episodes = write_varied(path, varied)
    size = max(round(share * sum(varied.lengths)), 1)
    report = rlbuffers.subset(path, output, size, by=by, seed=5, cut=is_cut)
    found = read_episodes(output)
    order = list(range(len(episodes)))
    if by == "random":
        order = np.random.default_rng(5).permutation(len(episodes)).tolist()
    chosen, total = {}, 0
    for number in order:
        if total >= size:
            break
        steps = len(episodes[number]["rewards"])
        kept = min(steps, size - total) if is_cut else steps
        chosen[number] = cut(episodes[number], kept)
        total += kept
    assert_same_episodes(found, [chosen[number] for number in sorted(chosen)])
    assert report.written.transitions == total
    assert bool(report.notes) == (total > size)


@pytest.mark.parametrize("by", ["first", "random"])
def test_rows_of_independent_transitions(new_path, by):
    made = make(Recipe("transitions", (300, 200), stack=2, apart=0.3))
    path, output = write(new_path("memory"), made), new_path("hdf5")
    rlbuffers.subset(path, output, 0.1, by=by, seed=1)
    rows = np.arange(50)
    if by == "random":
        rows = np.sort(np.random.default_rng(1).choice(500, 50, replace=False))
    with rlbuffers.open(output) as found:
        assert_same_rows(found[:], taken(made.table, rows))


@pytest.mark.parametrize("is_cut", [True, False])
def test_rows_of_drawn_episode_ids(new_path, is_cut):
    ids = np.random.default_rng(0).integers(100, 110, 200).tolist()
    path, output = new_path("memory"), new_path("memory")
    table = with_ids(path, ids)
    rlbuffers.subset(path, output, 50, by="episodes", seed=2, cut=is_cut)
    with rlbuffers.open(output) as found:
        rows = found[:]
        assert found.spec.order == "shuffled"
    drawn = [sorted(set(ids))[number] for number in np.random.default_rng(2).permutation(10)]
    whole, total = [], 0
    for number in drawn:
        if total >= 50:
            break
        whole.append(number)
        total += ids.count(number)
    expected = np.flatnonzero(np.isin(ids, whole))
    if is_cut:
        surplus = total - 50
        of_last = np.flatnonzero(np.array(ids) == whole[-1])
        expected = np.setdiff1d(expected, of_last[len(of_last) - surplus :])
        assert len(rows["rewards"]) == 50
    assert_same_rows(rows, taken(table, expected))


def test_a_subset_of_a_subset_tells_the_whole_way(path, new_path):
    first, second = new_path("hdf5"), new_path("memory")
    rlbuffers.subset(path, first, 14, by="random", seed=3)
    rlbuffers.subset(first, second, 5, cut=True)
    assert_same_episodes(read_episodes(second)[:1], read_episodes(first)[:1])
    with rlbuffers.open(path) as start, rlbuffers.open(first) as middle, rlbuffers.open(second) as end:
        derivation = end.metadata["derivation"]
        assert derivation["operation"] == "subset"
        assert derivation["arguments"] == {"size": 5, "by": "first", "cut": True}
        (parent,) = derivation["parents"]
        assert (parent["name"], parent["fingerprint"]) == (first.name, middle.fingerprint)
        assert parent["counts"] == middle.metadata["counts"]
        assert parent["written_by"]["command"] == middle.metadata["written_by"]["command"]
        assert parent["derivation"]["arguments"] == {"size": 14, "by": "random", "cut": False, "seed": 3}
        assert parent["derivation"]["parents"][0]["fingerprint"] == start.fingerprint
        for name in ("environment", "behavior_policy", "source", "license", "scalars"):
            assert end.metadata[name] == start.metadata[name]


def test_everything_is_the_same_buffer(path, new_path):
    report = rlbuffers.subset(path, new_path("zarr"), 1.0)
    with rlbuffers.open(path) as buffer:
        assert report.fingerprint == buffer.fingerprint
        assert report.parents[0].fingerprint == buffer.fingerprint
        assert report.parents[0].tally == report.written


def test_the_same_seed_gives_the_same_buffer(path, new_path):
    made = [rlbuffers.subset(path, new_path("memory"), 7, by="random", seed=seed).fingerprint for seed in (4, 4, 5)]
    assert made[0] == made[1] != made[2]


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (0, "choose 1 to 24"),
        (25, "size 25: .* has 24 transitions"),
        (-1, "choose 1 to 24"),
        (1.5, "a fraction must be above 0 and at most 1"),
        (0.0, "a fraction must be"),
        (float("nan"), "a fraction must be"),
    ],
)
def test_sizes_that_cannot_be(path, new_path, size, message):
    output = new_path("hdf5")
    with pytest.raises(UsageError, match=message):
        rlbuffers.subset(path, output, size)
    assert not output.exists()


def test_what_is_wrong_is_said(path, new_path, tmp_path):
    rows = write(new_path("memory"), make(Recipe("transitions", (9,))))
    with pytest.raises(UnsupportedError, match="without a column 'episode_ids' cannot be chosen by episodes"):
        rlbuffers.subset(rows, new_path("memory"), 3, by="episodes")
    with pytest.raises(UsageError, match="expected one of first, random, episodes"):
        rlbuffers.subset(path, new_path("memory"), 3, by="last")
    with pytest.raises(BufferNotFoundError):
        rlbuffers.subset(tmp_path / "x.hdf5", tmp_path / "y.hdf5", 3)
    with pytest.raises(UsageError, match="is what is read; choose another name"):
        rlbuffers.subset(path, path, 3, overwrite=True)
    output = new_path("hdf5")
    rlbuffers.subset(path, output, 3)
    with pytest.raises(BufferExistsError, match="overwrite"):
        rlbuffers.subset(path, output, 5)
    with pytest.raises(UsageError, match="is what is read"):
        rlbuffers.subset(output, output.parent / "." / output.name, 1, overwrite=True)
    rlbuffers.subset(path, output, 5, overwrite=True)


def test_an_interruption_leaves_nothing(path, tmp_path):
    def stop(count, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rlbuffers.subset(path, tmp_path / "x.hdf5", 5, on_progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_an_open_buffer_stays_open(path, new_path):
    seen = []
    with rlbuffers.open(path) as buffer:
        rlbuffers.subset(buffer, new_path("memory"), 5, on_progress=lambda *now: seen.append(now))
        assert len(buffer[:]["rewards"]) == 24
    assert seen[-1] == (9, 9)
