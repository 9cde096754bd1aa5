from __future__ import annotations

import numpy as np
import pytest
from reference import Recipe, assert_same_rows, make, taken, write
from varied import all_cases, assert_same_episodes, read_episodes, write_varied

import rlbuffers
from rlbuffers.errors import BufferBusyError, BufferExistsError, UnsupportedError, UsageError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.hdf5"


@pytest.fixture
def episodes(path):
    return write_varied(path, all_cases())


def names_in(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_fractions_of_the_episodes(path, episodes):
    reports = rlbuffers.split(path, fractions=[0.75, 0.25], names=["train", "test"], seed=3)
    order = np.random.default_rng(3).permutation(8)
    for report, numbers, name in zip(reports, (order[:6], order[6:]), ("train", "test"), strict=True):
        assert report.path == path.parent / f"runs-{name}.hdf5"
        assert_same_episodes(read_episodes(report.path), [episodes[number] for number in sorted(numbers)])
        assert report.written.episodes == len(numbers)
        derivation = rlbuffers.open(report.path).metadata["derivation"]
        assert derivation["operation"] == "split"
        assert derivation["arguments"] == {
            "fractions": [0.75, 0.25],
            "seed": 3,
            "part": 0 if name == "train" else 1,
            "name": f"runs-{name}.hdf5",
        }
        assert rlbuffers.validate(report.path).ok
    assert names_in(path.parent) == ["runs-test.hdf5", "runs-train.hdf5", "runs.hdf5"]


@pytest.mark.parametrize(
    ("how", "counts", "format_name"),
    [({"parts": 3}, [2, 3, 3], "zarr"), ({"episodes_per_part": 3}, [3, 3, 2], None), ({"parts": 8}, [1] * 8, "hdf5")],
)
def test_parts_in_order(path, episodes, tmp_path, how, counts, format_name):
    reports = rlbuffers.split(path, tmp_path / "parts", format_name=format_name, **how)
    assert [report.written.episodes for report in reports] == counts
    found = [episode for report in reports for episode in read_episodes(report.path)]
    assert_same_episodes(found, episodes)
    total = len(counts)
    assert names_in(tmp_path / "parts") == [
        f"runs-{n:05}-of-{total:05}.{format_name or 'hdf5'}" for n in range(1, total + 1)
    ]


def test_independent_rows_are_divided(tmp_path):
    made = make(Recipe("transitions", (500,), stack=2, apart=0.2))
    path = write(tmp_path / "rows.zarr", made)
    reports = rlbuffers.split(path, fractions=[0.9, 0.1], seed=1)
    order = np.random.default_rng(1).permutation(500)
    for report, rows in zip(reports, (order[:450], order[450:]), strict=True):
        with rlbuffers.open(report.path) as found:
            assert_same_rows(found[:], taken(made.table, np.sort(rows)))
    with pytest.raises(UnsupportedError, match="independent transitions have no episodes; split into --parts"):
        rlbuffers.split(path, episodes_per_part=3)


def test_an_interruption_in_the_last_part_leaves_none(path, episodes):
    def stop(count, total):
        if count == total:
            raise KeyboardInterrupt

    seen = []
    with pytest.raises(KeyboardInterrupt):
        rlbuffers.split(path, parts=4, on_progress=lambda *now: (seen.append(now), stop(*now)))
    assert names_in(path.parent) == ["runs.hdf5"]
    assert [count for count, _ in seen] == [4, 11, 16, 24]


def test_a_part_that_exists_keeps_all_away(path, episodes):
    taken_path = path.parent / "runs-b.hdf5"
    taken_path.write_bytes(b"mine")
    with pytest.raises(BufferExistsError, match=r"runs-b\.hdf5: exists already"):
        rlbuffers.split(path, parts=2, names=["a", "b"])
    assert names_in(path.parent) == ["runs-b.hdf5", "runs.hdf5"]
    assert taken_path.read_bytes() == b"mine"
    rlbuffers.split(path, parts=2, names=["a", "b"], overwrite=True)
    assert len(read_episodes(taken_path)) == 4


def test_a_part_that_is_being_written_keeps_all_away(path, episodes):
    with rlbuffers.open(path) as buffer:
        spec = buffer.spec
    writer = rlbuffers.create(path.parent / "runs-b.hdf5", spec)
    with pytest.raises(BufferBusyError):
        rlbuffers.split(path, parts=2, names=["a", "b"])
    writer.abort()
    assert names_in(path.parent) == ["runs.hdf5"]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({}, "say how to split by one of"),
        ({"parts": 2, "fractions": [0.5, 0.5]}, "say how to split by one of"),
        ({"fractions": [0.5, 0.6]}, "sum to 1"),
        ({"fractions": [1.0]}, "above 0 that sum to 1"),
        ({"fractions": [1.5, -0.5]}, "above 0 that sum to 1"),
        ({"fractions": [0.99, 0.01]}, "8 episodes are too few for 2 such parts"),
        ({"parts": 9}, "parts 9: expected 2 to 8"),
        ({"parts": 1}, "parts 1: expected 2 to 8"),
        ({"episodes_per_part": 8}, "episodes per part 8: expected 1 to 7"),
        ({"parts": 2, "names": ["a"]}, "expected 2 different names"),
        ({"parts": 2, "names": ["a", "a"]}, "expected 2 different names"),
        ({"parts": 2, "names": ["a", "../b"]}, "without slashes"),
    ],
)
def test_what_cannot_be_split(path, episodes, how, message):
    with pytest.raises(UsageError, match=message):
        rlbuffers.split(path, **how)
    assert names_in(path.parent) == ["runs.hdf5"]
