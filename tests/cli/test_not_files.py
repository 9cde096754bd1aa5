"""Things that are not files, in the place of files that are read: each command answers, and none waits for ever."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE_SECONDS
from round_trips import invoke
from truth import DATA

SUPPORT = Path(__file__).parents[1] / "support"
BUFFERS = ("hdf5", "zarr", "zarr.zip")
D4RL = DATA / "d4rl" / "mini" / "hopper_medium.hdf5"
CONVERTED = {
    "d3rlpy": (DATA / "d3rlpy" / "cartpole-v2.h5", []),
    "d4rl": (D4RL, ["--file"]),
    "diffusion-policy": (DATA / "diffusion_policy" / "pusht.zarr", []),
    "dopamine": (DATA / "dopamine" / "Breakout" / "1" / "replay_logs", []),
    "exorl": (DATA / "exorl", []),
    "imitation": (DATA / "imitation" / "walk.npz", []),
    "lerobot": (DATA / "lerobot" / "v2.1", []),
    "lerobot 3": (DATA / "lerobot" / "v3.0", []),
    "minari": (DATA / "minari" / "fixture" / "cartpole-hdf5-v0", []),
    "minari arrow": (DATA / "minari" / "fixture" / "cartpole-arrow-v0", []),
    "npz": (DATA / "imitation" / "walk.npz", []),
    "ogbench": (min((DATA / "ogbench").glob("*.npz")), []),
    "reverb": (DATA / "reverb" / "pendulum", ["--table", "pairs"]),
    "rl-unplugged": (
        DATA / "rl_unplugged" / "Pong" / "run_1-00001-of-00100",
        ["--suite", "atari", "--task", "Pong", "--file"],
    ),
    "rllib": (DATA / "rllib" / "batches", []),
    "rllib steps": (DATA / "rllib" / "steps", []),
    "robomimic": (DATA / "robomimic" / "lift.hdf5", []),
    "stable-baselines": (DATA / "stable_baselines" / "walk.npz", []),
    "tfds": (DATA / "tfds" / "mini_rlds" / "vectors" / "1.0.0", ["--dir"]),
    "tianshou": (DATA / "tianshou" / "cartpole.hdf5", []),
}


def assert_answers(given, words):
    """Run a command with other things in the place of each file; one that does not end is killed, as a failure."""
    script = [sys.executable, SUPPORT / "not_files.py", given, *words]
    try:
        done = subprocess.run(script, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired as error:
        pytest.fail(f"waits for ever: {error.stdout.decode().splitlines()[-1] if error.stdout else script}")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", CONVERTED)
def test_convert(tmp_path, name):
    source, words = CONVERTED[name]
    (tmp_path / "in").mkdir()
    given = tmp_path / "in" / source.name
    shutil.copytree(source, given) if source.is_dir() else shutil.copy(source, given)
    output = ["-o", tmp_path / "x.hdf5", "--overwrite", "--workers", "0"]
    assert_answers(given, ["convert", name.split()[0], *words, given, *output])


@pytest.mark.parametrize("suffix", BUFFERS)
@pytest.mark.parametrize("command", ["info", "validate", "list", "repair"])
def test_buffers(tmp_path, suffix, command):
    (tmp_path / "in").mkdir()
    given = tmp_path / "in" / f"x.{suffix}"
    assert invoke("convert", "d4rl", "--file", D4RL, "-o", given).exit_code == 0
    more = ["-o", tmp_path / "repaired.hdf5", "--overwrite"] if command == "repair" else []
    assert_answers(given, [command, given.parent if command == "list" else given, *more])


@pytest.mark.parametrize("words", [["evaluate"], ["compare"], ["train", "--config"], ["train", "--resume"]])
def test_training(tmp_path, words):
    given = tmp_path / "in" / "last.pt"
    given.parent.mkdir()
    given.write_bytes(b"no checkpoint")
    assert_answers(given, [*words, given.parent if words == ["compare"] else given])


def test_reports_of_runs(tmp_path):
    buffer, run = tmp_path / "x.hdf5", tmp_path / "run"
    assert invoke("convert", "d4rl", "--file", D4RL, "-o", buffer).exit_code == 0
    run.mkdir()
    for name in ("events.out.tfevents.1", "config.json", "summary.json"):
        (run / name).write_bytes(b"{}")
    assert_answers(run, ["report", buffer, "--run", run, "-o", tmp_path / "x.html", "--overwrite"])
