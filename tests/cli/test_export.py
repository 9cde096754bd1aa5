"""`rlbuffers export`, with the formats that need no other library."""

from __future__ import annotations

import numpy as np
import pytest
from reference import Recipe, make, write

import rlbuffers


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "x.hdf5", make(Recipe("episodes", (3, 4))))


def names_in(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_what_was_written_is_told(run, path, tmp_path):
    result = run("export", path, "--to", "npz")
    assert (result.exit_code, result.stderr) == (0, "")
    with np.load(tmp_path / "x.npz") as archive:
        total = archive["rewards"].astype(np.float64).sum()
        assert len(archive["rewards"]) == 7
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert f"output  {tmp_path / 'x.npz'}" in lines
    assert f"in      2 episodes, 7 transitions, rewards sum to {total:,.10g}" in lines
    assert f"out     7 transitions, rewards sum to {total:,.10g}" in lines


def test_containers_are_exchanged_there_and_back(run, path, tmp_path):
    assert run("export", path, "--to", "zarr", "-o", tmp_path / "y.zarr").exit_code == 0
    assert run("export", tmp_path / "y.zarr", "--to", "hdf5", "-o", tmp_path / "z.hdf5").exit_code == 0
    with rlbuffers.open(path) as first, rlbuffers.open(tmp_path / "z.hdf5") as last:
        assert first.fingerprint == last.fingerprint


def test_the_same_command_twice_keeps_the_first_output(run, path, tmp_path):
    run("export", path, "--to", "npz")
    before = (tmp_path / "x.npz").read_bytes()
    result = run("export", path, "--to", "npz")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {tmp_path / 'x.npz'}: exists already; pass --overwrite")
    assert (tmp_path / "x.npz").read_bytes() == before
    assert run("export", path, "--to", "npz", "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["missing.hdf5", "--to", "npz"], 1, "Error: missing.hdf5: there is no such file"),
        (["x", "--to", "csv"], 2, "Error: Invalid value for '--to': 'csv' is not one of"),
        (["x"], 2, "Error: Missing option '--to'"),
    ],
)
def test_wrong_words_get_one_line(run, words, code, message):
    result = run("export", *words)
    assert result.exit_code == code
    assert result.stderr.splitlines()[-1].startswith(message) or message in result.stderr


def test_a_file_that_is_no_buffer_leaves_nothing(run, tmp_path):
    (tmp_path / "x.hdf5").write_bytes(b"no HDF5")
    result = run("export", tmp_path / "x.hdf5", "--to", "npz")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert names_in(tmp_path) == ["x.hdf5"]
