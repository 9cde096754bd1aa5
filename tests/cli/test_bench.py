"""`rlbuffers bench`."""

from __future__ import annotations

import json

from reference import Recipe, make, write


def test_the_table(run, tmp_path):
    path = write(tmp_path / "x.hdf5", make(Recipe("transitions", (300,))))
    result = run("bench", path, "--seconds", "0.05", "--batch-size", 16)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].rstrip() == f"{path}: 300 transitions"
    assert lines[1].split() == ["median", "lowest", "highest", "rounds"]
    for start in ("open ", "first batch of 16, uncached ", "batches of 16, warm ", "in order, decoded "):
        (line,) = [line for line in lines if line.startswith(start)]
        assert line.split()[-1].isdigit()
    assert any(line.startswith("every stack stored apart ") for line in lines)


def test_json(run, tmp_path):
    path = write(tmp_path / "x.zarr", make(Recipe("episodes", (30,))))
    found = json.loads(run("bench", path, "--seconds", "0.02", "--json").stdout)
    assert found["transitions"] == 30
    assert found["warm_transitions_per_second"]["median"] > 0
    assert found["sizes"]["disk_bytes"] > 0


def test_wrong_input_is_one_line(run, tmp_path):
    result = run("bench", tmp_path / "nothing.hdf5")
    assert result.exit_code == 1
    assert "there is no such file" in result.stderr
    path = write(tmp_path / "x.hdf5", make(Recipe("transitions", (3,))))
    result = run("bench", path, "--seconds", "0")
    assert result.exit_code == 2
    assert result.stderr == "Error: seconds and batch_size must be positive, got 0.0 and None\n"
