"""`rlbuffers convert npz`, and what every subcommand of `convert` shares."""

from __future__ import annotations

import numpy as np
import pytest

import rlbuffers


def archive(path, count=5):
    np.savez(
        path,
        observations=np.arange(count * 2.0).reshape(count, 2),
        actions=np.zeros(count, np.int64),
        rewards=np.arange(count, dtype=np.float32),
        terminals=np.arange(count) == count - 1,
    )
    return path


def names_in(folder):
    return sorted(str(entry.relative_to(folder)) for entry in folder.rglob("*"))


@pytest.mark.parametrize("store", ["hdf5", "zarr"])
def test_several_archives_become_one_buffer(run, tmp_path, store):
    paths = [archive(tmp_path / f"{number}.npz", number + 2) for number in range(3)]
    output = tmp_path / f"all.{store}"
    result = run("convert", "npz", *paths, "-o", output)
    assert (result.exit_code, result.stderr) == (0, "")
    words = " ".join(result.stdout.split())
    assert "in 3 episodes, 9 transitions, rewards sum to 10" in words
    assert "out 3 episodes, 9 transitions, rewards sum to 10" in words
    with rlbuffers.open(output) as buffer:
        assert [part["name"] for part in buffer.metadata["source"]["parts"]] == [str(path) for path in paths]


def test_a_directory_stands_for_its_archives(run, tmp_path):
    (tmp_path / "runs").mkdir()
    for number in (10, 9):
        archive(tmp_path / "runs" / f"{number}.npz", number)
    (tmp_path / "runs" / "notes.txt").write_text("words")
    assert run("convert", "npz", tmp_path / "runs", "-o", tmp_path / "all.zarr").exit_code == 0
    with rlbuffers.open(tmp_path / "all.zarr") as buffer:
        assert [part["transitions"] for part in buffer.metadata["source"]["parts"]] == [9, 10]


def test_the_buffer_has_a_place_of_its_own_unless_told(run, tmp_path):
    path = archive(tmp_path / "x.npz")
    assert run("convert", "npz", path, "--buffer-dir", tmp_path / "b", "--format", "zarr").exit_code == 0
    with rlbuffers.open(tmp_path / "b" / "npz" / "x.zarr") as buffer:
        assert len(buffer) == 5


def test_the_name_and_the_format_must_agree(run, tmp_path):
    result = run("convert", "npz", archive(tmp_path / "x.npz"), "-o", tmp_path / "y.hdf5", "--format", "zarr")
    assert result.exit_code == 2
    assert "the name says hdf5, --format says zarr" in result.stderr
    assert names_in(tmp_path) == ["x.npz"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no archive", "expected a NumPy archive"), (b"PK\x03\x04", "not a whole NumPy archive")],
)
def test_wrong_files_get_one_line_and_leave_nothing(run, tmp_path, content, message):
    (tmp_path / "x.npz").write_bytes(content)
    result = run("convert", "npz", tmp_path / "x.npz", "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert f"x.npz: {message}" in result.stderr
    assert names_in(tmp_path) == ["x.npz"]


def test_no_transitions_get_one_line(run, tmp_path):
    result = run("convert", "npz", archive(tmp_path / "x.npz", 0), "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 1
    assert "x.npz" in result.stderr
    assert names_in(tmp_path) == ["x.npz"]


def test_names_are_said_with_map(run, tmp_path):
    np.savez(
        tmp_path / "x.npz", obs=np.zeros((4, 2)), act=np.zeros(4), my_r=np.arange(4.0), terminated=np.arange(4) == 3
    )
    result = run("convert", "npz", tmp_path / "x.npz", "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 1
    assert "expected arrays rewards; found act, my_r, obs, terminated" in result.stderr
    assert "--map COLUMN=NAME" in result.stderr
    for number, pair in enumerate(["my_r=rewards", "reward=my_r"]):
        output = tmp_path / f"{number}.hdf5"
        assert run("convert", "npz", tmp_path / "x.npz", "--map", pair, "-o", output).exit_code == 0
        with rlbuffers.open(output) as buffer:
            assert buffer[:]["rewards"].tolist() == [0, 1, 2, 3]
    for pair in ("my_r", "=rewards", "my_r="):
        result = run("convert", "npz", tmp_path / "x.npz", "--map", pair, "-o", tmp_path / "y.hdf5")
        assert result.exit_code == 2
        assert f"--map {pair}: expected COLUMN=NAME" in result.stderr


def test_very_many_things_that_are_left_out_are_counted(run, tmp_path):
    with np.load(archive(tmp_path / "x.npz")) as arrays:
        np.savez(tmp_path / "x.npz", **arrays, **{f"empty{number}": np.zeros(0) for number in range(1234)})
    result = run("convert", "npz", tmp_path / "x.npz", "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 0
    assert "... and 1,214 more" in result.stdout
    assert "'empty20'" not in result.stdout
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        assert len(buffer.metadata["left_out"]) == 1234
