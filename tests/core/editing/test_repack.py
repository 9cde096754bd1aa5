from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import Recipe, assert_same_rows, make, recipes, write
from varied import FACTS, all_cases, assert_same_episodes, read_episodes, write_varied

import rlbuffers
from rlbuffers import StorageOptions
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, UsageError


@settings(max_examples=12)
@given(
    recipe=recipes(),
    store=st.sampled_from(["hdf5", "zarr"]),
    level=st.sampled_from([None, 1, 3]),
    chunk_rows=st.sampled_from([None, 1, 64, 256, 1024]),
    frames=st.sampled_from([None, 1, 7, 32]),
)
def test_another_form_of_the_same_content(new_path, recipe, store, level, chunk_rows, frames):
    made = make(recipe)
    path, output = write(new_path("memory"), made, FACTS), new_path(store)
    storage = StorageOptions(level, chunk_rows, frames if recipe.layout == "episodes" else None)
    report = rlbuffers.repack(path, output, storage=storage)
    with rlbuffers.open(path) as before, rlbuffers.open(output) as after:
        assert report.fingerprint == after.fingerprint == before.fingerprint
        assert_same_rows(after[:], made.table)
        assert after.metadata["counts"] == before.metadata["counts"]
        for name, facts in FACTS.items():
            assert after.metadata[name] == facts
        for name, rows in after.arrays.items():
            if name == "frames":
                expected = recipe.stack + 1 if recipe.layout == "transitions" else frames or 12
                assert rows.array.chunk_rows == expected
            elif chunk_rows is not None:
                assert rows.array.chunk_rows == chunk_rows
    assert rlbuffers.validate(output).ok


def test_a_higher_level_is_smaller_and_plain_libraries_read_it(new_path):
    import zarr

    paths = {}
    observations = np.repeat(np.arange(40_000) % 97, 3).reshape(-1, 3).astype(np.float32)
    made = make(Recipe("episodes", (40_000,)))
    made.pieces[0].observations["observations"][:-1] = observations
    path = write(new_path("memory"), made)
    for store, levels in (("hdf5", (0, 1, 3)), ("zarr", (1, 19))):
        sizes = []
        for level in levels:
            paths[store] = new_path(store)
            sizes.append(rlbuffers.repack(path, paths[store], storage=StorageOptions(level)).buffer_bytes)
        assert sizes == sorted(sizes, reverse=True)
    with h5py.File(paths["hdf5"]) as file:
        np.testing.assert_array_equal(file["observations"][:], observations)
    group = zarr.open_group(paths["zarr"], mode="r")
    np.testing.assert_array_equal(group["observations"][:], observations)


def test_what_was_chosen_is_told_and_forgotten_by_the_next(new_path):
    first, second = new_path("hdf5"), new_path("zarr")
    path = new_path("memory")
    episodes = write_varied(path, all_cases(stack=2))
    rlbuffers.repack(path, first, storage=StorageOptions(level=3, frames_per_chunk=16))
    rlbuffers.repack(first, second)
    assert rlbuffers.open(first).metadata["storage"] == {"level": 3, "frames_per_chunk": 16}
    assert "storage" not in rlbuffers.open(second).metadata
    assert_same_episodes(read_episodes(second), episodes)


@pytest.mark.parametrize(
    ("store", "how", "message"),
    [
        ("hdf5", {"level": 4}, r"level 4: expected 0 to 3 \(gzip by ISA-L\)"),
        ("zarr", {"level": 0}, r"level 0: expected 1 to 22 \(Zstandard\)"),
        ("hdf5", {"chunk_rows": 100}, "chunk rows 100: expected a power of two below 256, or a multiple of it"),
        ("hdf5", {"chunk_rows": 0}, "chunk rows 0"),
        ("hdf5", {"frames_per_chunk": 0}, "frames per chunk 0: expected at least 1"),
        ("hdf5", {"frames_per_chunk": 100_003}, "need more than 64 MiB while writing"),
    ],
)
def test_numbers_that_cannot_be_obeyed(new_path, store, how, message):
    path, output = new_path("memory"), new_path(store)
    write_varied(path, all_cases(stack=2))
    with pytest.raises(UsageError, match=message):
        rlbuffers.repack(path, output, storage=StorageOptions(**how))
    assert not list(output.parent.glob(f"*{output.name}*"))


def test_frames_of_a_transition_stay_together(new_path):
    path = write(new_path("memory"), make(Recipe("transitions", (9,), stack=2)))
    with pytest.raises(UsageError, match="the 3 frames of an independent transition are one chunk"):
        rlbuffers.repack(path, new_path("hdf5"), storage=StorageOptions(frames_per_chunk=12))


def test_damage_makes_no_buffer(new_path, tmp_path):
    path = write(new_path("zarr"), make(Recipe("episodes", (300,))), FACTS)
    document = json.loads((path / "zarr.json").read_text())
    facts = document["attributes"]["rlbuffers"]
    facts["fingerprint"] = "0" * 64
    from rlbuffers.metadata import render_metadata

    document["attributes"]["rlbuffers"] = json.loads(render_metadata(facts))
    (path / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(CorruptDataError, match=f"{path}: the content does not match the stored fingerprint"):
        rlbuffers.repack(path, tmp_path / "x.hdf5")
    with pytest.raises(BufferNotFoundError):
        rlbuffers.open(tmp_path / "x.hdf5")
    assert list(tmp_path.iterdir()) == []
