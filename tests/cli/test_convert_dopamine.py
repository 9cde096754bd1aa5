"""`rlbuffers convert dopamine`."""

from __future__ import annotations

import numpy as np
import pytest
from dopamine_log import Ring
from truth import DATA

import rlbuffers

RUN = DATA / "dopamine" / "Breakout" / "1"


@pytest.fixture
def ring(tmp_path):
    """A run of another program: three dumps, the last of them partial, and an episode across each border."""
    ring = Ring(tmp_path / "run" / "replay_logs", 16)
    for step in range(1, 36):
        ring.add(step, terminal=step in (8, 20))
    ring.dump_final()
    return ring


@pytest.mark.parametrize("store", ["hdf5", "zarr"])
def test_a_run_becomes_a_buffer(run, tmp_path, store):
    result = run("convert", "dopamine", RUN, "--buffer-dir", tmp_path, "--format", store)
    assert result.exit_code == 0
    assert "4 episodes, 300 transitions" in result.output
    with rlbuffers.open(tmp_path / "dopamine" / "Breakout" / "1" / f"ckpt.0.{store}") as buffer:
        assert len(buffer) == 300
        assert buffer.metadata["source"]["checkpoints"] == [{"number": 0, "capacity": 300, "add_count": 300}]


@pytest.mark.parametrize("store", ["hdf5", "zarr"])
def test_all_checkpoints_become_one_buffer(run, ring, tmp_path, store):
    result = run("convert", "dopamine", ring.folder, "-o", tmp_path / f"all.{store}", "--stack", 2)
    assert result.exit_code == 0
    assert result.stderr == ""
    with rlbuffers.open(tmp_path / f"all.{store}") as buffer:
        assert buffer[:]["actions"].tolist() == list(range(1, 36))
        assert buffer.arrays["episodes/lengths"].all().tolist() == [8, 12, 15]
        assert buffer.arrays["episodes/checkpoint_idx"].all().tolist() == [0, 0, 1]
        assert buffer.spec.stack == 2
    assert run("validate", tmp_path / f"all.{store}").exit_code == 0


def test_the_closing_lines_say_what_was_repeated(run, tmp_path):
    ring = Ring(tmp_path / "run", 50, dumps_itself=False)
    for step in range(1, 31):
        ring.add(step, terminal=step % 10 == 0)
        if step in (12, 30):
            ring.dump()
    result = run("convert", "dopamine", ring.folder, "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 0
    assert "3 episodes, 30 transitions" in result.output
    closing = " ".join(result.stdout.split())
    assert "repeated rows 18 " in closing
    assert "18 repeated rows, which the checkpoint before holds too: 18 of checkpoint 1" in closing
    assert result.stderr == ""


def test_chosen_checkpoints(run, ring, tmp_path):
    words = ["--checkpoint", 1, "--checkpoint", 0, "--game", "Venture", "--buffer-dir", tmp_path]
    result = run("convert", "dopamine", ring.folder.parent, *words)
    assert result.exit_code == 0
    with rlbuffers.open(tmp_path / "dopamine" / "Venture" / "ckpt.0-1.hdf5") as buffer:
        assert buffer.metadata["environment"]["id"] == "Venture"
        np.testing.assert_array_equal(buffer[:]["actions"], np.arange(1, len(buffer) + 1))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--checkpoint", 5], 1, "replay_logs: there is no checkpoint 5; found 0, 1, 2"),
        (["--game", "Brekout"], 2, "'Brekout' is not one of the 60 Atari games of DQN Replay; did you mean Breakout?"),
        (["--stack", 0], 2, "0 is not in the range x>=1."),
        (["--step-limit", 0], 2, "0 is not in the range x>=1."),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(run, ring, tmp_path, words, code, message):
    result = run("convert", "dopamine", ring.folder, "-o", tmp_path / "x.hdf5", *words)
    assert result.exit_code == code
    assert result.stderr.splitlines()[-1].endswith(message)
    assert not list(tmp_path.glob("*.hdf5"))


def test_a_folder_without_logs(run, tmp_path):
    result = run("convert", "dopamine", tmp_path)
    assert result.exit_code == 1
    assert result.stderr == (f"Error: {tmp_path}: expected files such as $store$_observation_ckpt.0.gz, found none\n")


def test_a_file_in_place_of_the_folder(run, tmp_path):
    path = tmp_path / "x.gz"
    path.write_text("words")
    result = run("convert", "dopamine", path, "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: {path}: expected a folder of files such as $store$_observation_ckpt.0.gz, found a file\n"
    )


def test_workers_are_not_needed(run, ring, tmp_path):
    paths = [tmp_path / f"{workers}.hdf5" for workers in (0, 2)]
    for workers, path in zip((0, 2), paths, strict=True):
        assert run("convert", "dopamine", ring.folder, "-o", path, "--workers", workers).exit_code == 0
    with rlbuffers.open(paths[0]) as first, rlbuffers.open(paths[1]) as second:
        assert first.fingerprint == second.fingerprint
