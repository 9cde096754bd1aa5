from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import Recipe, assert_same_rows, make, write
from varied import (
    FACTS,
    all_cases,
    assert_same_episodes,
    read_episodes,
    transition_recipes,
    varied_buffers,
    write_varied,
)

import rlbuffers
from rlbuffers.errors import SpecError, UsageError


@given(varied=varied_buffers(), count=st.integers(2, 4))
def test_episodes_follow_one_another(new_path, varied, count):
    paths = [new_path("memory") for _ in range(count)]
    expected = [episode for path in paths for episode in write_varied(path, varied)]
    output = new_path("hdf5")
    report = rlbuffers.merge(paths, output)
    assert_same_episodes(read_episodes(output), expected)
    assert report.written.episodes == len(expected)
    assert len(report.notes) == count - 1  # the same buffer several times
    with rlbuffers.open(output) as found:
        for number in range(count):
            np.testing.assert_array_equal(found.extra(f"part{number}/weights"), np.arange(6).reshape(3, 2))
        parents = found.metadata["derivation"]["parents"]
        rows = sum(varied.lengths)
        assert [(p["first_row"], p["transitions"]) for p in parents] == [(n * rows, rows) for n in range(count)]
        assert [(p["first_episode"], p["episodes"]) for p in parents] == [
            (n * len(varied.lengths), len(varied.lengths)) for n in range(count)
        ]
        assert [part["name"] for part in found.metadata["source"]["parts"]] == [str(path) for path in paths]


@given(recipe=transition_recipes())
def test_rows_follow_one_another(new_path, recipe):
    made = make(recipe)
    paths = [write(new_path("memory"), made), write(new_path("memory"), made)]
    output = new_path("memory")
    rlbuffers.merge(paths, output)
    with rlbuffers.open(output) as found:
        assert_same_rows(found[:], {name: np.concatenate([rows, rows]) for name, rows in made.table.items()})


def test_parents_agree_on_some_facts(new_path):
    """What both say is said of the whole, and what they say differently of the part that it is true of."""
    paths = [new_path("memory"), new_path("memory")]
    other = {
        **FACTS,
        "environment": {"id": "Maze-v0", "reference_scores": {"min": 0.0, "max": 20.0}, "wind": 3},
        "behavior_policy": {"name": "expert"},
        "license": "CC0",
        "experiment": "second",
        "warnings": ["odd"],
    }
    write_varied(paths[0], all_cases(), {**FACTS, "citation": "A", "notes": ["both"]})
    write_varied(paths[1], all_cases(seed=1), {**other, "citation": "A", "notes": ["both"]})
    output = new_path("hdf5")
    rlbuffers.merge(paths, output)
    with rlbuffers.open(output) as found:
        facts = found.metadata
    assert facts["citation"] == "A"
    assert facts["notes"] == ["both"]
    assert facts["warnings"] == [f"{paths[1]}: odd"]
    assert facts["environment"] == {"id": "Maze-v0"}
    assert facts["behavior_policy"] == {}
    assert "license" not in facts
    parts = facts["source"]["parts"]
    assert [part["license"] for part in parts] == ["MIT", "CC0"]
    assert [part["behavior_policy"]["name"] for part in parts] == ["random", "expert"]
    assert [part["environment"]["reference_scores"]["max"] for part in parts] == [10.0, 20.0]
    assert [part.get("experiment") for part in parts] == [None, "second"]
    assert [part["scalars"] for part in parts] == [FACTS["scalars"]] * 2
    assert facts["source"]["format"] == "rows"
    assert [file["name"] for file in facts["source"]["files"]] == ["a", "a"]


def test_buffers_of_unknown_origin_can_be_merged(new_path):
    paths = [new_path("memory"), new_path("memory")]
    for seed, path in enumerate(paths):
        write_varied(path, all_cases(seed=seed), {})
    output = new_path("memory")
    report = rlbuffers.merge(paths, output)
    assert report.notes == []
    with rlbuffers.open(output) as found:
        assert "format" not in found.metadata["source"]
        assert [part["transitions"] for part in found.metadata["source"]["parts"]] == [24, 24]


def test_what_was_split_can_be_merged_again(new_path, tmp_path):
    path = new_path("hdf5")
    episodes = write_varied(path, all_cases(stack=2))
    parts = rlbuffers.split(path, tmp_path, fractions=[0.5, 0.25, 0.25], seed=8)
    output = new_path("zarr")
    rlbuffers.merge([part.path for part in parts], output)
    order = np.random.default_rng(8).permutation(8)
    order = [*sorted(order[:4]), *sorted(order[4:6]), *sorted(order[6:])]
    assert_same_episodes(read_episodes(output), [episodes[number] for number in order])
    cut = rlbuffers.split(path, tmp_path / "cut", parts=3)
    same = new_path("memory")
    rlbuffers.merge([part.path for part in cut], same)
    report = rlbuffers.diff(path, same)
    assert {found.name for found in report.arrays} == set()
    assert {found.where for found in report.specs} == {
        "extras.weights",
        *(f"extras.part{number}/weights" for number in range(3)),
    }


STACKED = Recipe("episodes", (3,), stack=2)


@pytest.mark.parametrize(
    ("recipe", "other", "message"),
    [
        (
            Recipe("episodes", (3,)),
            Recipe("transitions", (3,)),
            "layout 'transitions' instead of 'episodes', unlike .*; convert their sources with the same --layout",
        ),
        (STACKED, Recipe("episodes", (3,), stack=3), "stack 3 instead of 2, .*; convert their sources with the same"),
        (
            Recipe("episodes", (3,)),
            Recipe("episodes", (3,), extra=(("infos/x", "int8", ()),)),
            r"column 'infos/x' is int8 \(\) instead of absent, unlike .*; only buffers with the same columns",
        ),
        (
            Recipe("episodes", (3,)),
            Recipe("episodes", (3,), observations=(("observations", "float64", (3,)),)),
            r"column 'observations' is float64 \(3,\) instead of float32 \(3,\)",
        ),
    ],
)
def test_buffers_that_differ_are_refused(new_path, recipe, other, message):
    paths = [write(new_path("memory"), make(recipe)), write(new_path("memory"), make(other))]
    output = new_path("hdf5")
    with pytest.raises(SpecError, match=f"^{paths[1]}: {message}"):
        rlbuffers.merge(paths, output)
    assert not output.exists()


def test_buffers_normalized_in_different_ways_are_refused(new_path):
    paths = [new_path("memory"), new_path("memory")]
    for seed, path in enumerate(paths):
        write_varied(path, all_cases(seed=seed))
    normalized = new_path("memory")
    rlbuffers.normalize(paths[1], normalized)
    with pytest.raises(SpecError, match="normalized in another way than those of"):
        rlbuffers.merge([paths[0], normalized], new_path("memory"))


def test_one_is_too_few(new_path):
    with pytest.raises(UsageError, match="merge needs two buffers or more"):
        rlbuffers.merge([new_path("memory")], new_path("memory"))
