from __future__ import annotations

import pytest
from reference import Recipe, make, write

import rlbuffers
from rlbuffers.inspecting.footprint import footprint


@pytest.mark.parametrize(
    "recipe",
    [Recipe("episodes", (5, 7)), Recipe("episodes", (5, 7), stack=3), Recipe("transitions", (20,), stack=3, apart=0.5)],
    ids=["vectors", "images", "shuffled"],
)
def test_sizes_are_those_of_the_arrays(store, new_path, recipe):
    made = make(recipe)
    path = write(new_path(store), made)
    with rlbuffers.open(path) as buffer:
        sizes = footprint(buffer)
        decoded = {name: rows.all().nbytes for name, rows in buffer.arrays.items()}
    row_bytes = sum(values[0].nbytes for values in made.table.values())
    frames = sum(decoded.get(name, 0) for name in ("frames", "stack_index", "next_overrides/observations"))
    assert sizes.transition_bytes == row_bytes
    assert sizes.stacked_bytes == row_bytes * len(made)
    assert sizes.decoded_bytes == sum(decoded.values())
    assert sizes.resident_bytes == sum(decoded.values()) - frames
    if store == "hdf5":
        assert sizes.disk_bytes == path.stat().st_size
    elif store == "zarr":
        assert sizes.disk_bytes == sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    assert sizes.to_json()["disk_bytes"] == sizes.disk_bytes > 0
