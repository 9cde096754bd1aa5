"""`rlbuffers convert d3rlpy`: the fixture against plain h5py, directories, and wrong files."""

from __future__ import annotations

import shutil

import h5py
import numpy as np
import pytest
from truth import DATA

import rlbuffers

FIXTURE = DATA / "d3rlpy" / "cartpole-v2.h5"


def expected_of(path):
    """Read a dump row by row."""
    columns = {name: [] for name in ("observations", "actions", "rewards", "terminals", "timeouts")}
    lengths = []
    with h5py.File(path) as file:
        for number in range(int(file["num_episodes"][()])):
            count, terminated = len(file[f"rewards_{number}"]), bool(file[f"terminated_{number}"][()])
            for row in range(count):
                columns["observations"].append(file[f"observations_{number}"][row])
                columns["actions"].append(file[f"actions_{number}"][row, 0])
                columns["rewards"].append(file[f"rewards_{number}"][row, 0])
                columns["terminals"].append(row == count - 1 and terminated)
                columns["timeouts"].append(row == count - 1 and not terminated)
            lengths.append(count)
    return {name: np.array(rows) for name, rows in columns.items()}, lengths


@pytest.mark.parametrize("store", ["hdf5", "zarr"])
def test_the_fixture(run, tmp_path, store):
    result = run("convert", "d3rlpy", FIXTURE, "-o", tmp_path / f"x.{store}")
    assert result.exit_code == 0, result.output
    assert "9 episodes, 200 transitions, rewards sum to 200" in result.stdout
    expected, lengths = expected_of(FIXTURE)
    with rlbuffers.open(tmp_path / f"x.{store}") as buffer:
        rows = buffer.rows(np.arange(len(buffer)), list(expected))
        for name, values in expected.items():
            np.testing.assert_array_equal(rows[name], values)
            assert rows[name].dtype == values.dtype
        assert buffer.arrays["episodes/lengths"].all().tolist() == lengths


def test_a_directory_becomes_one_buffer_that_names_its_parts(run, tmp_path):
    (tmp_path / "runs").mkdir()
    for name in ("10.h5", "9.h5", "notes.txt"):
        shutil.copy(FIXTURE, tmp_path / "runs" / name)
    result = run("convert", "d3rlpy", tmp_path / "runs", "-o", tmp_path / "all.zarr")
    assert result.exit_code == 0, result.output
    with rlbuffers.open(tmp_path / "all.zarr") as buffer:
        assert buffer.num_episodes == 18
        parts = buffer.metadata["source"]["parts"]
        assert [part["files"][0]["name"] for part in parts] == ["9.h5", "10.h5"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"text", "expected an HDF5 file"), (FIXTURE.read_bytes()[:9000], "damaged or cut short")],
)
def test_wrong_files(run, tmp_path, content, message):
    (tmp_path / "x.h5").write_bytes(content)
    result = run("convert", "d3rlpy", tmp_path / "x.h5", "-o", tmp_path / "y.hdf5")
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.h5"]
