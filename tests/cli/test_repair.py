"""`rlbuffers repair`."""

from __future__ import annotations

import json
import random
import sys

import numpy as np
import pytest
from chunk_places import chunk_places, flip
from reference import Recipe, make, write

import rlbuffers
from rlbuffers.writing import journal


@pytest.fixture
def damaged(tmp_path):
    """Stacked episodes of which one chunk of frames is damaged: the second of three episodes."""
    path = write(tmp_path / "x.hdf5", make(Recipe("episodes", (30, 40, 20), stack=2, size=(6, 6))))
    file, offset, size = chunk_places(path)["frames"][4]
    flip(file, offset + size - 1, random.Random(0))
    return path


def lines_of(result):
    return [" ".join(line.split()) for line in result.stdout.splitlines()]


def test_what_was_lost_is_said(run, damaged, tmp_path):
    result = run("repair", damaged, "-o", tmp_path / "new.zarr")
    assert result.exit_code == 0
    lines = lines_of(result)
    assert "frames 1 episodes 1 of 8 chunks cannot be read: not a whole zlib stream of 432 bytes" in lines
    assert "lost 1 of 3 episodes, 40 of 90 transitions (44.44%)" in lines
    assert "lost rows 30-69" in lines
    assert f"buffer {tmp_path}/new.zarr" in lines
    with rlbuffers.open(tmp_path / "new.zarr") as buffer:
        assert f"fingerprint {buffer.fingerprint}" in lines
        assert len(buffer) == 50
    assert run("validate", tmp_path / "new.zarr").exit_code == 0


def test_a_dry_run(run, damaged, tmp_path):
    result = run("repair", damaged, "--dry-run")
    assert result.exit_code == 0
    assert "could be written 50 transitions" in lines_of(result)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.hdf5"]


def test_json(run, damaged, tmp_path):
    found = json.loads(run("repair", damaged, "-o", tmp_path / "new.hdf5", "--json").stdout)
    assert (found["num_rows_lost"], found["lost_rows"], found["num_kept"]) == (40, "30-69", 2)
    assert found["kept"]["transitions"] == 50
    assert [loss["array"] for loss in found["losses"]] == ["frames"]


def test_a_sound_buffer(run, tmp_path):
    path = write(tmp_path / "x.zarr", make(Recipe("transitions", (30,))))
    result = run("repair", path, "-o", tmp_path / "new.zarr")
    assert result.exit_code == 0
    assert lines_of(result)[-1] == f"{path}: nothing is damaged; nothing was written"
    assert not (tmp_path / "new.zarr").exists()


def test_the_output_must_be_named_or_declined(run, damaged, tmp_path):
    for words in ([], ["-o", tmp_path / "new.zarr", "--dry-run"]):
        result = run("repair", damaged, *words)
        assert result.exit_code == 2
        assert result.stderr == "Error: say where to write with -o NEW, or --dry-run to write nothing\n"


def test_what_is_there_is_not_replaced(run, damaged, tmp_path):
    (tmp_path / "new.hdf5").write_text("old")
    result = run("repair", damaged, "-o", tmp_path / "new.hdf5")
    assert result.exit_code == 1
    assert "exists already" in result.stderr
    assert run("repair", damaged, "-o", tmp_path / "new.hdf5", "--overwrite").exit_code == 0


def test_nothing_there_is_one_line(run, tmp_path):
    result = run("repair", tmp_path / "x.hdf5", "--dry-run")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "there is no such file" in result.stderr


@pytest.fixture
def interrupted(tmp_path, monkeypatch):
    """What a killed writer left of 20 transitions."""
    monkeypatch.setattr(journal, "INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr(sys, "argv", ["rlbuffers", "generate"])
    made = make(Recipe("transitions", (20,)))
    writer = rlbuffers.create(tmp_path / "x.hdf5", made.spec)
    writer.append_transitions(made.pieces[0])
    writer.abort(keep=True)
    monkeypatch.setattr(sys, "argv", ["rlbuffers", "repair"])
    return tmp_path / "x.hdf5"


def test_an_interrupted_buffer_is_listed_and_repaired(run, interrupted, tmp_path):
    partial = f"{tmp_path}/.x.hdf5.partial"
    line = run("list", tmp_path).stdout.splitlines()[0]
    told = f"its writer was killed; `rlbuffers repair {partial} -o NEW` salvages 20 transitions"
    assert line == f".x.hdf5.partial: interrupted: {told}"
    result = run("repair", interrupted, "-o", interrupted)
    assert result.exit_code == 0
    lines = lines_of(result)
    assert "from an interrupted writer, up to its last checkpoint" in lines
    assert "lost 0 of 20 transitions (0.00%)" in lines
    assert lines[-1] == f"{tmp_path}/.x.hdf5.interrupted and the files beside it are kept until you remove them"
    assert run("validate", interrupted).exit_code == 0


def test_a_conversion_to_the_same_name_says_what_is_there(run, interrupted, tmp_path):
    rows = {name: np.zeros(4, np.float32) for name in ("observations", "actions", "rewards")}
    rows |= {"terminals": np.arange(4) == 3, "timeouts": np.zeros(4, bool)}
    np.savez(tmp_path / "rows.npz", **rows)
    result = run("convert", "npz", tmp_path / "rows.npz", "-o", interrupted)
    assert result.exit_code == 0
    words = " ".join(result.stderr.split())
    assert "an interrupted run left 20 transitions" in words
    with rlbuffers.open(interrupted) as buffer:
        assert len(buffer) == 4
