"""`rlbuffers convert --sha256`, an option of every source."""

from __future__ import annotations

import hashlib

import h5py
import numpy as np
import pytest
from round_trips import invoke
from truth import DATA

import rlbuffers
from rlbuffers.conversion.convert import convert
from rlbuffers.errors import CorruptDataError, UsageError
from rlbuffers.sources import SOURCES
from rlbuffers.sources.npz import NpzSource

SHARD = DATA / "rl_unplugged" / "Pong" / "run_1-00001-of-00100"
HOPPER = DATA / "d4rl" / "mini" / "hopper_medium-v2.hdf5"
# Source to the words of its command and the file that they name.
ONE_FILE = {
    "d4rl": (["--file", HOPPER], HOPPER),
    "rl-unplugged": (["--suite", "atari", "--task", "Pong", "--file", SHARD], SHARD),
    **{
        name: ([path], path)
        for name, path in {
            "tianshou": DATA / "tianshou" / "cartpole.hdf5",
            "robomimic": DATA / "robomimic" / "lift.hdf5",
            "imitation": DATA / "imitation" / "walk.npz",
            "ogbench": min((DATA / "ogbench").glob("*.npz")),
            "stable-baselines": DATA / "stable_baselines" / "walk.npz",
            "rllib": DATA / "rllib" / "steps.jsonl",
            "d3rlpy": DATA / "d3rlpy" / "cartpole-v2.h5",
        }.items()
    },
    "exorl": ([min((DATA / "exorl").glob("*.npz"))], min((DATA / "exorl").glob("*.npz"))),
    "npz": ([DATA / "imitation" / "walk.npz"], DATA / "imitation" / "walk.npz"),
    "minari": (
        [DATA / "minari" / "fixture" / "cartpole-hdf5-v0"],
        DATA / "minari" / "fixture" / "cartpole-hdf5-v0" / "data" / "main_data.hdf5",
    ),
}
FOLDERS = {
    "tfds": ["--dir", DATA / "tfds" / "mini_rlds" / "vectors" / "1.0.0"],
    "lerobot": [DATA / "lerobot" / "v2.1"],
    "dopamine": [DATA / "dopamine" / "Breakout" / "1" / "replay_logs"],
    "diffusion-policy": [DATA / "diffusion_policy" / "pusht.zarr"],
    "reverb": [DATA / "reverb" / "pendulum", "--table", "pairs"],
}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_has_the_option(name):
    assert "--sha256" in invoke("convert", name, "--help").output


def test_every_source_is_tried():
    assert {*ONE_FILE, *FOLDERS} == set(SOURCES)


@pytest.mark.parametrize("name", ONE_FILE)
def test_it_is_compared_before_anything_is_written(tmp_path, name):
    words, path = ONE_FILE[name]
    out = tmp_path / "out" / "x.hdf5"
    out.parent.mkdir()
    command = ["convert", name, *words, "-o", out, "--workers", 0]
    refused = invoke(*command, "--sha256", "0" * 64)
    assert refused.exit_code == 1
    assert f"{path}: expected SHA-256 {'0' * 64}, found {sha256(path)}" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert list(out.parent.iterdir()) == []
    accepted = invoke(*command, "--sha256", sha256(path).upper())
    assert accepted.exit_code == 0, accepted.stderr
    with rlbuffers.open(out) as buffer:
        files = buffer.metadata["source"]["files"]
    assert name == "exorl" or sha256(path) in [file["sha256"] for file in files]


@pytest.mark.parametrize("text", ["", "abc", "g" * 64, "0" * 65, "0" * 63 + " "])
def test_what_is_no_hash_is_a_usage_error(tmp_path, text):
    refused = invoke("convert", "d4rl", "--file", HOPPER, "-o", tmp_path / "x.hdf5", "--sha256", text)
    assert refused.exit_code == 2
    assert "expected 64 hexadecimal digits" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def make_files(folder):
    paths = [folder / "a2.hdf5", folder / "a10.hdf5"]
    for number, path in enumerate(paths):
        with h5py.File(path, "w") as file:
            for name in ("observations", "actions"):
                file[name] = [[float(number)]] * 4
            file["rewards"], file["terminals"] = [1.0] * 4, [False, True] * 2
    return paths


def test_several_files_have_one_each_in_order(tmp_path):
    paths = make_files(tmp_path)
    command = ["convert", "d4rl", "--file", tmp_path, "-o", tmp_path / "x.zarr"]
    right = [word for path in paths for word in ("--sha256", sha256(path))]
    swapped = [word for path in paths[::-1] for word in ("--sha256", sha256(path))]
    assert invoke(*command, *swapped).exit_code == 1
    one = invoke(*command, *right[:2])
    assert one.exit_code == 2
    assert "expected one SHA-256 for each file, in this order: a2.hdf5, a10.hdf5 (2); got 1" in one.stderr
    assert not (tmp_path / "x.zarr").exists()
    assert invoke(*command, *right).exit_code == 0


@pytest.mark.parametrize("name", FOLDERS)
def test_a_source_that_is_a_folder_refuses_it(tmp_path, name):
    refused = invoke("convert", name, *FOLDERS[name], "-o", tmp_path / "x.hdf5", "--sha256", "0" * 64)
    assert refused.exit_code == 2
    assert "this source is not a file" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_from_python(tmp_path):
    path = tmp_path / "x.npz"
    column = np.ones((4, 1), np.float32)
    np.savez(path, observations=column, actions=column, rewards=column[:, 0], terminals=np.arange(4) == 3)
    with pytest.raises(CorruptDataError, match="expected SHA-256"):
        convert(NpzSource(path), tmp_path / "x.hdf5", sha256="f" * 64)
    with pytest.raises(UsageError, match="one SHA-256 for each file"):
        convert(NpzSource(path), tmp_path / "x.hdf5", sha256=[sha256(path)] * 2)
    assert convert(NpzSource(path), tmp_path / "x.hdf5", sha256=sha256(path)).transitions == 4
