from __future__ import annotations

import h5py
import numpy as np
import pytest
import zarr
from reference import Recipe, make, write

import rlbuffers
from rlbuffers.atomic import AtomicPath
from rlbuffers.hidden_paths import partial_of
from rlbuffers.inspecting.catalog import catalog
from rlbuffers.leftovers import is_being_written


@pytest.fixture
def shelf(tmp_path):
    """One of everything that can stand below a folder."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    write(tmp_path / "a.hdf5", make(Recipe("episodes", (3, 5))), {"environment": {"id": "Maze-v0"}})
    write(tmp_path / "deep" / "b.zarr", make(Recipe("transitions", (7,), stack=2)))
    write(tmp_path / "deep" / "er" / "c.hdf5", make(Recipe("episodes", (2,), stack=3)))
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = np.arange(3)
    zarr.create_group(tmp_path / "foreign.zarr")
    (tmp_path / "text.hdf5").write_text("no HDF5 at all")
    (tmp_path / "deep" / "notes.txt").write_text("not looked at")
    return tmp_path


def by_name(folder):
    return {str(entry.path.relative_to(folder)): entry for entry in catalog(folder)}


def test_what_is_found(shelf):
    found = by_name(shelf)
    assert {name: (entry.format, entry.state) for name, entry in found.items()} == {
        "a.hdf5": ("hdf5", "whole"),
        "deep/b.zarr": ("zarr", "whole"),
        "deep/er/c.hdf5": ("hdf5", "whole"),
        "foreign.h5": ("hdf5", "foreign"),
        "foreign.zarr": ("zarr", "foreign"),
        "text.hdf5": ("hdf5", "damaged"),
    }
    assert list(found) == sorted(found)


def test_the_facts_are_those_of_the_data(shelf):
    for name, entry in by_name(shelf).items():
        if entry.state != "whole":
            assert entry.facts is None
            continue
        with rlbuffers.open(shelf / name) as buffer:
            rows = buffer[:]
            assert entry.facts.transitions == len(rows["rewards"])
            assert (entry.facts.layout, entry.facts.fingerprint) == (buffer.spec.layout, buffer.fingerprint)
            if buffer.spec.layout == "episodes":
                returns = [float(np.sum(episode["rewards"], dtype=np.float64)) for episode in buffer.episodes()]
                assert entry.facts.episodes == len(returns)
                assert entry.facts.mean_return == pytest.approx(np.mean(returns))
            else:
                assert (entry.facts.episodes, entry.facts.mean_return) == (None, None)
    assert by_name(shelf)["a.hdf5"].facts.task == "Maze-v0"


def test_damage_is_an_entry_and_not_the_end(shelf):
    content = bytearray((shelf / "a.hdf5").read_bytes())
    (shelf / "cut.hdf5").write_bytes(content[: len(content) // 2])
    (shelf / "deep" / "b.zarr" / "zarr.json").write_text('{"zarr_format": 3, "node')
    (shelf / "empty.zarr").mkdir()
    found = by_name(shelf)
    assert {name for name, entry in found.items() if entry.state == "damaged"} == {
        "cut.hdf5",
        "deep/b.zarr",
        "empty.zarr",
        "text.hdf5",
    }
    for name, entry in found.items():
        if entry.state == "damaged":
            assert entry.problem
            assert "\n" not in entry.problem
            assert not entry.problem.startswith(str(shelf / name) + ":")


def test_what_a_writer_has_is_told_from_what_a_killed_one_left(tmp_path):
    target = AtomicPath(tmp_path / "running.hdf5")
    target.partial.write_bytes(b"x")
    partial_of(tmp_path / "killed.zarr").mkdir()
    (tmp_path / ".killed.zarr.lock").touch()
    found = by_name(tmp_path)
    assert found[".running.hdf5.partial"].state == "being written"
    assert found[".killed.zarr.partial"].state == "interrupted"
    assert "nothing can be salvaged" in found[".killed.zarr.partial"].problem
    target.discard()
    assert not is_being_written(tmp_path / "running.hdf5")


def test_buffers_in_zip_files(tmp_path):
    write(tmp_path / "whole.zarr.zip", made := make(Recipe("episodes", (3, 5))))
    content = (tmp_path / "whole.zarr.zip").read_bytes()
    (tmp_path / "cut.zarr.zip").write_bytes(content[:-30])
    with zarr.storage.ZipStore(tmp_path / "foreign.zarr.zip", mode="w") as store:
        zarr.create_group(store)
    partial_of(tmp_path / "killed.zarr.zip").write_bytes(content[:100])
    (tmp_path / ".killed.zarr.zip.lock").touch()
    (tmp_path / "other.zip").write_bytes(content)
    found = by_name(tmp_path)
    assert {name: (entry.format, entry.state) for name, entry in found.items()} == {
        "whole.zarr.zip": ("zip", "whole"),
        "cut.zarr.zip": ("zip", "damaged"),
        "foreign.zarr.zip": ("zip", "foreign"),
        ".killed.zarr.zip.partial": ("zip", "interrupted"),
    }
    assert found["whole.zarr.zip"].facts.transitions == len(made)
    assert found[".killed.zarr.zip.partial"].problem.endswith("of a ZIP file nothing can be salvaged")


def test_a_folder_that_leads_back_to_itself(shelf):
    (shelf / "deep" / "loop").symlink_to(shelf)
    assert len(by_name(shelf)) == 6
