from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import Recipe, make, recipes, write
from varied import FACTS, all_cases, write_varied

import rlbuffers
from rlbuffers.editing import diff as diff_module
from rlbuffers.editing.diff import ArrayDifference, Difference


@settings(max_examples=12)
@given(recipe=recipes(), stores=st.sampled_from([("hdf5", "zarr"), ("memory", "hdf5")]))
def test_containers_and_metadata_make_no_difference(new_path, recipe, stores):
    made = make(recipe)
    paths = [write(new_path(store), made, facts) for store, facts in zip(stores, (FACTS, {"notes": []}), strict=True)]
    report = rlbuffers.diff(*paths)
    assert report.equal
    assert (report.specs, report.counts, report.arrays) == ([], [], [])
    assert {found.where for found in report.metadata} == {*FACTS, "notes"}


@given(data=st.data(), block=st.sampled_from([1, 100, 1 << 24]))
def test_rows_that_differ_are_counted(new_path, data, block):
    made = make(Recipe("transitions", (300,)))
    changed = {name: values.copy() for name, values in made.table.items()}
    rows = sorted(data.draw(st.sets(st.integers(0, 299), min_size=1, max_size=9)))
    changed["observations"][rows, 1] += np.float32(0.5)
    changed["actions"][rows[-1]] += 3
    changed["terminals"][rows[0]] ^= True
    paths = [write(new_path("memory"), made), write(new_path("memory"), dataclasses.replace(made, pieces=[changed]))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diff_module, "_BLOCK_BYTES", block)
        report = rlbuffers.diff(*paths)
    assert not report.equal
    largest = np.abs(changed["observations"].astype(float) - made.table["observations"]).max()
    assert report.arrays == [
        ArrayDifference("actions", (300, 300), 300, 1, rows[-1], 3.0),
        ArrayDifference("observations", (300, 300), 300, len(rows), rows[0], float(largest)),
        ArrayDifference("terminals", (300, 300), 300, 1, rows[0], 1.0),
    ]
    terminals = [int(table["terminals"].sum()) for table in (made.table, changed)]
    assert report.counts == [Difference("terminals", *terminals)]


def test_bits_count_and_nan_is_equal_to_itself(new_path):
    first = make(Recipe("transitions", (4,)))
    first.pieces[0]["observations"][:, 0] = [0.0, np.nan, np.inf, 1.0]
    second = {name: values.copy() for name, values in first.pieces[0].items()}
    second["observations"][:, 0] = [-0.0, np.nan, 1.0, 1.0]
    paths = [write(new_path("memory"), first)]
    paths.append(write(new_path("memory"), dataclasses.replace(first, pieces=[second])))
    assert rlbuffers.diff(*paths).arrays == [ArrayDifference("observations", (4, 4), 4, 2, 0, 0.0)]


def test_buffers_of_different_lengths_are_compared_as_far_as_both_go(new_path):
    path, part = new_path("memory"), new_path("memory")
    write_varied(path, all_cases())
    rlbuffers.subset(path, part, 9)
    report = rlbuffers.diff(path, part)
    assert not report.equal
    assert {found.where: (found.first, found.second) for found in report.counts}["episodes"] == (8, 3)
    for found in report.arrays:
        assert found.differing_rows == 0
        assert found.compared_rows == min(found.rows)
    assert "actions" in {found.name for found in report.arrays}
    assert {found.where for found in report.metadata} >= {"derivation"}


def test_columns_that_differ(new_path):
    path, normalized = new_path("memory"), new_path("memory")
    first = Recipe("episodes", (9,), observations=(("observations", "int16", (3,)),), extra=(("infos/x", "int8", ()),))
    write(path, make(first))
    rlbuffers.normalize(path, normalized)
    report = rlbuffers.diff(path, normalized)
    assert report.specs == [Difference("columns.observations", "int16 (3,)", "float32 (3,)")]
    assert [found.name for found in report.arrays] == ["episodes/final_observations", "observations"]
    assert report.arrays[1].differing_rows == 9


@pytest.mark.parametrize("stack", [0, 2])
def test_layouts_that_differ_are_compared_by_column(new_path, stack):
    made = make(Recipe("episodes", (5, 7), stack=stack))
    path, other = write(new_path("memory"), made), new_path("memory")
    table = {name: values.copy() for name, values in made.table.items()}
    table["rewards"][3] += 1
    flat = make(Recipe("transitions", (12,), stack=stack))
    write(other, dataclasses.replace(flat, pieces=[table]))
    report = rlbuffers.diff(path, other)
    assert Difference("layout", "episodes", "transitions") in report.specs
    (found,) = report.arrays
    assert (found.name, found.differing_rows, found.first_row) == ("rewards", 1, 3)
    assert found.max_difference == pytest.approx(1)


def test_only_what_differs_is_read(new_path):
    made = make(Recipe("transitions", (30,)))
    changed = {**made.pieces[0], "rewards": made.pieces[0]["rewards"] + 1}
    paths = [write(new_path("memory"), made), write(new_path("memory"), dataclasses.replace(made, pieces=[changed]))]
    seen = []
    rlbuffers.diff(*paths, on_array=seen.append)
    assert seen == ["rewards"]
