"""`rlbuffers convert robomimic`."""

from __future__ import annotations

import pytest
from robomimic_files import demo, write_demos
from truth import DATA

import rlbuffers

LIFT = DATA / "robomimic" / "lift.hdf5"


@pytest.mark.parametrize("store", ["hdf5", "zarr"])
def test_a_file(run, tmp_path, store):
    output = tmp_path / f"x.{store}"
    result = run("convert", "robomimic", LIFT, "-o", output)
    assert result.exit_code == 0
    words = " ".join(result.stdout.split())
    assert "in 3 episodes, 10 transitions, rewards sum to 3" in words
    assert "out 3 episodes, 10 transitions, rewards sum to 3" in words
    assert "demos ended by success 2" in words
    assert len(result.stderr.splitlines()) == 1
    assert rlbuffers.validate(output).ok


def test_a_directory_and_its_default_place(run, tmp_path):
    (tmp_path / "runs").mkdir()
    for number in (10, 9):
        write_demos(tmp_path / "runs" / f"{number}.hdf5", [demo(number)])
    assert run("convert", "robomimic", tmp_path / "runs", "--buffer-dir", tmp_path / "b").exit_code == 0
    with rlbuffers.open(tmp_path / "b" / "robomimic" / "runs.hdf5") as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [9, 10]


def test_a_split(run, tmp_path):
    result = run("convert", "robomimic", LIFT, "--split", "train", "--buffer-dir", tmp_path)
    assert result.exit_code == 0
    with rlbuffers.open(tmp_path / "robomimic" / "lift-train.hdf5") as buffer:
        assert buffer.num_episodes == 2


def test_no_such_split(run, tmp_path):
    result = run("convert", "robomimic", LIFT, "--split", "test", "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 2
    assert "has no split 'test'; its masks are 20_percent, train, valid" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"no HDF5", LIFT.read_bytes()[:9000]])
def test_wrong_files_get_one_line_and_leave_nothing(run, tmp_path, content):
    (tmp_path / "x.hdf5").write_bytes(content)
    result = run("convert", "robomimic", tmp_path / "x.hdf5", "-o", tmp_path / "y.hdf5")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.hdf5"]
