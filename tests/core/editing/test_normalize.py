from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import Recipe, make, recipes, write
from varied import Varied, all_cases, assert_same_episodes, read_episodes, write_varied

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Normalizer
from rlbuffers.editing.normalize import check_statistics
from rlbuffers.errors import UnsupportedError, UsageError
from rlbuffers.schema import is_observation


def normalized(values, rows, dtype=np.float32, epsilon=1e-3):
    """The formula, in double precision."""
    rows = rows.astype(np.float64)
    return ((values - rows.mean(axis=0)) / (rows.std(axis=0) + epsilon)).astype(dtype)


@given(
    nested=st.booleans(), known=st.booleans(), lengths=st.lists(st.sampled_from([1, 3, 300]), min_size=1, max_size=4)
)
def test_observations_of_episodes(new_path, nested, known, lengths):
    path, output = new_path("memory"), new_path("memory")
    varied = Varied(tuple(lengths), ((known, True, True, False), *[(True,) * 4] * (len(lengths) - 1)), nested=nested)
    episodes = write_varied(path, varied)
    rlbuffers.normalize(path, output)
    for name in [name for name in episodes[0] if is_observation(name)]:
        rows = np.concatenate([episode[name][: len(episode["rewards"])] for episode in episodes])
        for episode in episodes:
            episode[name] = normalized(episode[name], rows)
    found = read_episodes(output)
    for ours, theirs in zip(found, episodes, strict=True):
        for name in [name for name in ours if is_observation(name)]:
            np.testing.assert_allclose(ours.pop(name), theirs.pop(name), rtol=1e-5, atol=1e-6)
    assert_same_episodes(found, episodes)
    assert rlbuffers.validate(output).ok


def test_independent_rows_and_their_next_observations(new_path):
    made = make(Recipe("transitions", (500,), observations=(("observations", "float64", (2, 3)),)))
    path, output = write(new_path("memory"), made), new_path("hdf5")
    rlbuffers.normalize(path, output, epsilon=0.5)
    before = made.table["observations"]
    with rlbuffers.open(output) as found:
        rows = found[:]
        for name in ("observations", "next_observations"):
            expected = normalized(made.table[name], before, np.float64, 0.5)
            np.testing.assert_allclose(rows[name], expected, rtol=1e-9, atol=1e-12)
            assert rows[name].dtype == np.float64
        np.testing.assert_array_equal(rows["rewards"], made.table["rewards"])
        assert found.metadata["derivation"]["arguments"] == {"epsilon": 0.5}


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_the_transform_can_be_read_back_applied_and_undone(new_path, dtype):
    made = make(Recipe("episodes", (400,), observations=(("observations", dtype, (3,)),)))
    path, output = write(new_path("memory"), made), new_path("zarr")
    rlbuffers.normalize(path, output)
    with rlbuffers.open(path) as before, rlbuffers.open(output) as after:
        normalizer = Normalizer.of(after)
        np.testing.assert_array_equal(normalizer.apply(before[:]["observations"]), after[:]["observations"])
        np.testing.assert_array_equal(normalizer.apply(before[7]["observations"]), after[7]["observations"])
        undone = normalizer.undo(after[:]["observations"])
        assert undone.dtype == dtype
        np.testing.assert_allclose(undone, before[:]["observations"], rtol=1e-5, atol=1e-5)
        with pytest.raises(UnsupportedError, match="were not normalized by"):
            Normalizer.of(before)
    part = new_path("memory")
    rlbuffers.subset(output, part, 20, cut=True)
    with rlbuffers.open(part) as kept:
        assert Normalizer.of(kept).to_json() == normalizer.to_json()


def test_bounds_move_with_the_values(new_path):
    space = {"type": "box", "low": [-1.0, None], "high": 2.0}
    spec = BufferSpec(
        "transitions",
        [
            ColumnSpec("observations", np.float32, (2,), space),
            ColumnSpec("next_observations", np.float32, (2,), space),
            ColumnSpec("actions", np.int64),
            ColumnSpec("rewards", np.float32),
        ],
    )
    path, output = new_path("memory"), new_path("memory")
    observations = np.array([[-1, -5], [2, 1], [0, 2]], np.float32)
    with rlbuffers.create(path, spec) as writer:
        writer.append_transitions(
            {
                "observations": observations,
                "next_observations": observations,
                "actions": np.zeros(3, np.int64),
                "rewards": np.zeros(3, np.float32),
            }
        )
    rlbuffers.normalize(path, output)
    with rlbuffers.open(output) as found:
        moved = found.spec.columns["observations"].space
        rows = found[:]["observations"]
    assert moved["low"][0] == pytest.approx(rows[0, 0])
    assert moved["low"][1] is None
    assert moved["high"] == pytest.approx([rows[1, 0], rows[2, 1]])
    assert "values-in-space" not in {finding.rule for finding in rlbuffers.validate(output).errors}


def test_what_cannot_be_normalized(new_path):
    stacked = write(new_path("memory"), make(Recipe("episodes", (5,), stack=2)))
    flags = write(new_path("memory"), make(Recipe("episodes", (5,), observations=(("observations", "bool", (2,)),))))
    made = make(Recipe("episodes", (5,)))
    made.pieces[0].observations["observations"][2, 1] = np.inf
    infinite = write(new_path("memory"), made)
    made.pieces[0].observations["observations"][:] = 3
    constant = write(new_path("memory"), made)
    output = new_path("memory")
    for path, message in (
        (stacked, "its observations are images"),
        (flags, "'observations' has no statistics"),
        (infinite, "'observations' has values that are not finite"),
    ):
        with pytest.raises(UnsupportedError, match=message):
            rlbuffers.normalize(path, output)
    with pytest.raises(UsageError, match="give an epsilon above 0"):
        rlbuffers.normalize(constant, output, epsilon=0)
    with pytest.raises(UsageError, match="expected 0 or more"):
        rlbuffers.normalize(constant, output, epsilon=-1)
    rlbuffers.normalize(constant, output)
    assert not rlbuffers.open(output)[:]["observations"].any()
    with pytest.raises(UsageError, match="are normalized already"):
        rlbuffers.normalize(output, new_path("memory"))


@given(recipe=recipes())
def test_stored_statistics_are_those_of_the_data(new_path, recipe):
    path = write(new_path("memory"), make(recipe))
    report = check_statistics(path)
    assert report.wrong == []
    table = make(recipe).table
    for name, found in report.found.items():
        if found and np.isfinite(table[name]).all():
            values = table[name].astype(np.float64)
            np.testing.assert_allclose(found["min"], values.min(axis=0))
            np.testing.assert_allclose(found["mean"], values.mean(axis=0), atol=1e-9 * np.abs(values).max())


def test_wrong_statistics_are_found(new_path):
    from rlbuffers.metadata import render_metadata

    path = new_path("zarr")
    write_varied(path, all_cases())
    document = json.loads((path / "zarr.json").read_text())
    facts = document["attributes"]["rlbuffers"]
    facts["statistics"]["observations"]["mean"][1] += 0.01
    facts["statistics"]["rewards"]["max"] = 77
    document["attributes"]["rlbuffers"] = json.loads(render_metadata(facts))
    (path / "zarr.json").write_text(json.dumps(document))
    assert check_statistics(path).wrong == ["observations", "rewards"]


def test_progress_and_the_report_are_complete(new_path):
    path = new_path("memory")
    write_varied(path, all_cases())
    seen = []
    report = check_statistics(path, on_progress=lambda *now: seen.append(now))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert set(report.found) == set(report.stored) == {"observations", "rewards", "infos/x"}
    assert dataclasses.asdict(report) == report.to_json()
