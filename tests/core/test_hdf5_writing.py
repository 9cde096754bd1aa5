"""A disk that fails while HDF5 is written: one OSError that names the file, and nothing from the library."""

from __future__ import annotations

import errno
import resource
import sys

import h5py
import numpy as np
import pytest
from reference import Recipe, make

import rlbuffers
from rlbuffers.exports.export import export
from rlbuffers.hdf5_writing import written_hdf5

KINDS = ["d3rlpy", "d4rl", "minari", "robomimic", "tianshou"]


@pytest.fixture
def told(monkeypatch):
    """What was raised where nobody can catch it."""
    found = []
    monkeypatch.setattr(sys, "unraisablehook", found.append)
    return found


@pytest.fixture
def disk_of():
    """A function that lets files grow no longer than so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write(path):
    made = make(Recipe("episodes", (40, 30, 300), extra=(("infos/qpos", "float64", (30,)),)))
    with rlbuffers.create(path, made.spec, {"environment": {"id": "Maze-v0"}}, overwrite=True) as writer:
        for piece in made.pieces:
            writer.append_episode(piece)
    return path


@pytest.mark.parametrize("size", [0, 2_000, 20_000])
@pytest.mark.parametrize("kind", KINDS)
def test_an_export_to_a_full_disk_names_the_file(tmp_path, monkeypatch, capfd, told, disk_of, kind, size):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    source = write(tmp_path / "x.hdf5")
    output = "maze/x-v0" if kind == "minari" else tmp_path / "out.h5"
    before = {*tmp_path.rglob("*")}
    with rlbuffers.open(source) as buffer:
        disk_of(size)
        with pytest.raises(OSError, match="File too large") as caught:
            export(buffer, output, kind)
    assert caught.value.errno == errno.EFBIG
    assert str(tmp_path) in str(caught.value)
    assert not told
    assert capfd.readouterr().err == ""
    assert {path for path in tmp_path.rglob("*") if path.is_file()} <= before


@pytest.mark.parametrize("size", [0, 2_000, 20_000])
def test_a_buffer_on_a_full_disk_names_the_file(tmp_path, capfd, told, disk_of, size):
    disk_of(size)
    with pytest.raises(OSError, match=r"File too large.*x\.hdf5"):
        write(tmp_path / "x.hdf5")
    assert not told
    assert capfd.readouterr().err == ""
    assert not (tmp_path / "x.hdf5").exists()


def test_what_was_lost_is_still_read_by_the_library(tmp_path, disk_of, told):
    """Else it would find damage of its own making before the error is raised."""
    disk_of(4_000)

    def write_groups():
        with written_hdf5(tmp_path / "x.h5", libver="latest") as (file, _):
            for number in range(300):
                file[f"group {number}/a"] = np.full(10, number)
            for number in range(300):
                assert file[f"group {number}/a"][0] == number

    with pytest.raises(OSError, match="File too large"):
        write_groups()
    assert not told


def test_a_file_is_as_h5py_writes_it(tmp_path):
    rows = np.random.default_rng(0).normal(size=(1000, 3))
    for mode in ("w", "r+"):
        with written_hdf5(tmp_path / "x.h5", mode=mode) as (file, _):
            file.create_dataset(f"rows {mode}", data=rows, chunks=(10, 3), compression="gzip")
    with h5py.File(tmp_path / "x.h5") as file:
        np.testing.assert_array_equal(file["rows w"], rows)
        np.testing.assert_array_equal(file["rows r+"], rows)
