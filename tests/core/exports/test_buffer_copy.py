from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import Recipe, assert_same_rows, make, recipes, write

import rlbuffers
from rlbuffers.errors import CorruptDataError
from rlbuffers.exports.export import export

FACTS = {"environment": {"id": "X"}, "warnings": ["w"], "scalars": {"a": {"dtype": "int32", "value": 1}}}


@given(recipe=recipes(), stores=st.sampled_from([("hdf5", "zarr"), ("zarr", "hdf5"), ("memory", "hdf5")]))
def test_a_copy_is_the_same_buffer_in_another_container(new_path, recipe, stores):
    made = make(recipe)
    first, second = new_path(stores[0]), new_path(stores[1])
    with rlbuffers.open(write(first, made, FACTS)) as buffer:
        report = export(buffer, second, stores[1])
        with rlbuffers.open(second) as copy:
            assert_same_rows(copy[:], made.table)
            assert copy.fingerprint == buffer.fingerprint
            for name in ("spec", "counts", "statistics", *FACTS):
                assert copy.metadata[name] == buffer.metadata[name]
    assert report.left_out == []
    assert not [entry for entry in second.parent.iterdir() if entry.name.startswith(".")]


def test_a_damaged_buffer_makes_no_copy(new_path, tmp_path):
    path = write(new_path("hdf5"), make(Recipe("episodes", (300,))))
    with rlbuffers.open(path) as buffer:
        places = buffer.arrays["rewards"].table.places(np.array([0]))
        place = int(places.offsets[0]) + int(places.sizes[0]) // 2
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(bytes(content))
    with rlbuffers.open(path) as buffer, pytest.raises(CorruptDataError, match="rewards"):
        export(buffer, tmp_path / "x.zarr", "zarr")
    assert list(tmp_path.iterdir()) == []
